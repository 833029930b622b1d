import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fast_model.backends.llama_cpp import LlamaCppServer, ServeOptions, load_library
from fast_model.priority import give_way
from fast_model.server import EXIT_SETTINGS, EXIT_UNAVAILABLE, main, start_server
from tandem.errors import DependencyMissing, ProcessFailed, SettingsInvalid
from tandem.settings import ModelSettings, Settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def settings(home: Path, **fast: Any) -> Settings:
    return Settings(home=home, fast=ModelSettings(**fast))


def test_a_taken_port_is_said_before_any_download(tmp_path: Path, taken_port: int) -> None:
    with pytest.raises(ProcessFailed, match=f"127.0.0.1:{taken_port}.*TANDEM_FAST_PORT"):
        start_server(settings(tmp_path, port=taken_port), "fast")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="'gpt-9'"):
        start_server(settings(tmp_path, model="gpt-9"), "fast")


def test_a_context_beyond_the_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"TANDEM_FAST_CONTEXT_TOKENS is 9,000.*8,192"):
        start_server(settings(tmp_path, model="smollm2-135m-instruct", context_tokens=9_000), "fast")


def run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TANDEM_")}
    environment = kept | {"PYTHONPATH": str(ROOT), "TANDEM_HOME": str(home)} | variables
    command = [sys.executable, "-m", "fast_model.server", "--role", "fast", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_a_taken_port_ends_the_process_with_its_code(tmp_path: Path, taken_port: int) -> None:
    done = run(tmp_path, "--port", str(taken_port))
    assert done.returncode == EXIT_UNAVAILABLE
    assert "model_server_failed" in done.stderr


def test_a_bad_setting_ends_the_process_with_its_code(tmp_path: Path) -> None:
    done = run(tmp_path, TANDEM_FAST_SLOTS="none")
    assert done.returncode == EXIT_SETTINGS
    assert "TANDEM_FAST_SLOTS" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--role", "third"], ["--role", "fast", "--port", "70000"]])
def test_bad_arguments_are_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage:" in capsys.readouterr().err


def test_a_missing_runtime_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # how Python itself marks a module that cannot be imported
    with pytest.raises(DependencyMissing, match=r"tandem-agents\[model-cpu\]"):
        load_library()


class FakeLlama(SimpleNamespace):
    """The few names of ``xllamacpp`` the backend uses; remembers the parameters it was given."""

    def __init__(self, error: str | None = None) -> None:
        group = SimpleNamespace
        self.parameters = group(model=group(), cpuparams=group(poll=50), cpuparams_batch=group(poll=50), api_keys=[])
        super().__init__(llama_load_mode=group(LLAMA_LOAD_MODE_NONE=0), CommonParams=lambda: self.parameters)
        self.error = error

    def Server(self, parameters: object) -> object:  # noqa: N802 - the library's name
        assert parameters is self.parameters
        if self.error:
            raise RuntimeError(self.error)
        return SimpleNamespace(listening_address="http://127.0.0.1:9")


OPTIONS = ServeOptions(path=Path("m.gguf"), name="m", port=9, slots=3, context_tokens=1_000, threads=2)


def test_the_context_is_each_slots_own(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLlama()
    monkeypatch.setitem(sys.modules, "xllamacpp", library)
    server = LlamaCppServer(OPTIONS)
    given = library.parameters
    assert server.address == "http://127.0.0.1:9"
    assert (given.n_ctx, given.n_parallel, given.kv_unified) == (3_000, 3, False)
    assert (given.hostnames, given.endpoint_slots, given.endpoint_metrics, given.ui) == (["127.0.0.1"], False, False, False)
    assert (given.cpuparams.n_threads, given.cpuparams.poll) == (2, 50)


def test_a_server_that_gives_way_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLlama()
    monkeypatch.setitem(sys.modules, "xllamacpp", library)
    LlamaCppServer(
        ServeOptions(**{name: getattr(OPTIONS, name) for name in ("path", "name", "port", "slots", "context_tokens")}, keeps_polling=False)
    )
    assert library.parameters.cpuparams.poll == 0
    assert library.parameters.cpuparams_batch.n_threads == len(os.sched_getaffinity(0))


def test_what_llama_cpp_refuses_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", FakeLlama(error="Failed to init server"))
    with pytest.raises(ProcessFailed, match="Failed to init server"):
        LlamaCppServer(OPTIONS)


NICENESS = """
import os, pathlib, sys, threading
from fast_model.priority import give_way
started, stop = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: (started.set(), stop.wait()))
thread.start()
started.wait()
group = pathlib.Path(sys.argv[2])
give_way(int(sys.argv[1]), group)
print(*sorted({os.getpriority(os.PRIO_PROCESS, int(task)) for task in os.listdir("/proc/self/task")}), group.read_text())
stop.set()
"""


@pytest.mark.parametrize(("leads_session", "group"), [(True, "19"), (False, "untouched")])
def test_every_thread_gives_way_and_a_session_leader_its_session(tmp_path: Path, leads_session: bool, group: str) -> None:
    file = tmp_path / "autogroup"
    file.write_text("untouched", encoding="ascii")
    command = [sys.executable, "-c", NICENESS, "19", str(file)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, start_new_session=leads_session, check=True
    )
    assert done.stdout.split() == ["19", group]


def test_niceness_zero_changes_nothing(tmp_path: Path) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    give_way(0, tmp_path / "absent")
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
