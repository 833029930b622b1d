"""The files of a job: what its caller brought is read, what its tools make is kept once and read back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from slow_worker.artifacts import MAX_ARTIFACTS
from slow_worker.testing import PROBLEM, Workshop
from tandem.errors import LeaseLost, ToolFailed
from tandem.ids import DEFAULT_TENANT, FileId, JobId, TenantId
from tandem.ports import Claim, NewFile, Shelf, ShelfFile
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Document, JobRequest

PLOT = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
Uploads = Callable[[str, bytes], Awaitable[FileId]]


@pytest.fixture
def upload(workshop: Workshop) -> Uploads:
    async def upload(name: str, content: bytes) -> FileId:
        new = NewFile(workshop.ids.file(), DEFAULT_TENANT, name, "text/csv", "user_data", content)
        await workshop.storage.files.add(new, max_total_bytes=1_000_000)
        return new.id

    return upload


async def claimed(workshop: Workshop, files: Sequence[str] = (), documents: Sequence[Document] = ()) -> Claim:
    job_id = await workshop.submit(JobRequest(input=PROBLEM, files=list(files), documents=list(documents)))
    return await again(workshop, job_id, lease_s=0.001)


async def again(workshop: Workshop, job_id: JobId, *, lease_s: float = 60) -> Claim:
    """The next claim of a job whose worker was lost."""
    async with asyncio.timeout(10):
        while (claim := await workshop.storage.work.claim("w", lease_s, 5, job_id=job_id)) is None:
            await asyncio.sleep(0.005)
    return claim


async def shelf_of(workshop: Workshop, claim: Claim) -> Shelf:
    return (await workshop.services.open_context(claim)).tool_context.shelf


async def test_what_the_caller_brought_can_be_read(workshop: Workshop, upload: Uploads) -> None:
    file_id = await upload("销售.csv", b"a,b\n1,2\n")
    shelf = await shelf_of(workshop, await claimed(workshop, [file_id], [Document(name="notes", text="买茶"), Document(name="a.md", text="# x")]))
    assert list(await shelf.files()) == [
        ShelfFile("销售.csv", "text/csv", 8),
        ShelfFile("notes.txt", "text/plain", 6),
        ShelfFile("a.md", "text/markdown", 3),
    ]
    assert [await shelf.read(name) for name in ("销售.csv", "notes.txt", "a.md")] == [b"a,b\n1,2\n", "买茶".encode(), b"# x"]


async def test_files_of_one_name_are_told_apart_and_one_named_twice_is_one(workshop: Workshop, upload: Uploads) -> None:
    one, two = await upload("data.csv", b"1"), await upload("data.csv", b"2")
    shelf = await shelf_of(workshop, await claimed(workshop, [one, two, one], [Document(name="../data.csv", text="3")]))
    assert [file.name for file in await shelf.files()] == ["data.csv", "data-2.csv", "data-3.csv"]
    assert [await shelf.read(name) for name in ("data.csv", "data-2.csv", "data-3.csv")] == [b"1", b"2", b"3"]


async def test_a_file_that_is_not_there_is_answered_with_those_that_are(workshop: Workshop, upload: Uploads) -> None:
    shelf = await shelf_of(workshop, await claimed(workshop, [await upload("data.csv", b"1")]))
    with pytest.raises(ToolFailed, match=r"no file 'date\.csv'; there are 'data\.csv'"):
        await shelf.read("date.csv")
    with pytest.raises(ToolFailed, match="this job has no files"):
        await (await shelf_of(workshop, await claimed(workshop))).read("date.csv")


@pytest.mark.parametrize("has_looked", [False, True])
async def test_a_file_that_was_deleted_meanwhile_is_told_to_the_tool(workshop: Workshop, upload: Uploads, has_looked: bool) -> None:
    gone = await upload("data.csv", b"1")
    shelf = await shelf_of(workshop, await claimed(workshop, [gone, await upload("other.csv", b"2")]))
    if has_looked:
        await shelf.files()
    await workshop.storage.files.delete(gone, DEFAULT_TENANT)
    with pytest.raises(ToolFailed, match="deleted"):
        await shelf.read("data.csv")
    assert await shelf.read("other.csv") == b"2"


async def test_a_file_of_another_tenant_is_not_on_the_shelf(workshop: Workshop, upload: Uploads) -> None:
    claim = await claimed(workshop, [await upload("data.csv", b"1")])
    object.__setattr__(claim, "tenant", TenantId("somebody-else"))
    assert list(await (await shelf_of(workshop, claim)).files()) == []


async def test_what_a_tool_makes_is_kept_with_the_job_and_read_back(workshop: Workshop) -> None:
    claim = await claimed(workshop)
    shelf = await shelf_of(workshop, claim)
    assert await shelf.keep("../out/plot.png", "image/png", PLOT) == "plot.png"
    assert list(await shelf.files()) == [ShelfFile("plot.png", "image/png", len(PLOT), is_made=True)]
    assert await shelf.read("plot.png") == PLOT
    (artifact,) = (await workshop.job(claim.job_id)).artifacts
    assert (artifact.name, artifact.media_type, artifact.size) == ("plot.png", "image/png", len(PLOT))
    assert (await workshop.types(claim.job_id))[-1] == JobEvent.ARTIFACT_CREATED


async def test_a_name_that_is_taken_is_numbered(workshop: Workshop, upload: Uploads) -> None:
    shelf = await shelf_of(workshop, await claimed(workshop, [await upload("data.csv", b"1")]))
    names = [await shelf.keep(name, "text/csv", content) for name, content in (("data.csv", b"1"), ("a.csv", b"x"), ("a.csv", b"y"), ("a.csv", b"z"))]
    assert names == ["data-2.csv", "a.csv", "a-2.csv", "a-3.csv"]
    assert [await shelf.read(name) for name in ["data.csv", *names]] == [b"1", b"1", b"x", b"y", b"z"]


async def test_calls_beside_one_another_do_not_share_a_name(workshop: Workshop) -> None:
    shelf = await shelf_of(workshop, await claimed(workshop))
    names = await asyncio.gather(*(shelf.keep("plot.png", "image/png", bytes([number])) for number in range(8)))
    assert sorted(await asyncio.gather(*(shelf.read(name) for name in names))) == [bytes([number]) for number in range(8)]


async def test_the_same_call_after_a_crash_keeps_nothing_twice(workshop: Workshop) -> None:
    claim = await claimed(workshop)
    lost = await shelf_of(workshop, claim)
    first = [await lost.keep("plot.png", "image/png", content) for content in (b"1", b"2")]
    resumed = await shelf_of(workshop, await again(workshop, claim.job_id))
    assert [await resumed.keep("plot.png", "image/png", content) for content in (b"1", b"2")] == first == ["plot.png", "plot-2.png"]
    assert len((await workshop.job(claim.job_id)).artifacts) == 2
    with pytest.raises(LeaseLost):
        await lost.keep("late.png", "image/png", b"3")


async def test_there_is_a_limit_for_one_file_and_for_their_number(workshop: Workshop) -> None:
    shelf = await shelf_of(workshop, await claimed(workshop))
    with pytest.raises(ToolFailed, match=r"'big\.bin' has 5242881 bytes and at most 5242880"):
        await shelf.keep("big.bin", "", bytes(5_242_881))
    for number in range(MAX_ARTIFACTS):
        await shelf.keep(f"{number}.txt", "text/plain", b"x")
    with pytest.raises(ToolFailed, match="keeps 50 files already"):
        await shelf.keep("one-more.txt", "text/plain", b"x")
    assert await shelf.keep("7.txt", "text/plain", b"x") == "7.txt"


@pytest.mark.parametrize(
    ("name", "claimed_type", "content", "media_type"),
    [
        ("a.png", "image/png", b"<script>", "text/plain"),
        ("a.bin", "application/x-thing", b"\x00\x01", "application/x-thing"),
        ("a.csv", "", b"a,b", "text/csv"),
        ("page.html", "text/plain", b"<p>", "text/html"),
    ],
)
async def test_a_tool_does_not_decide_alone_what_a_file_is(workshop: Workshop, name: str, claimed_type: str, content: bytes, media_type: str) -> None:
    shelf = await shelf_of(workshop, await claimed(workshop))
    await shelf.keep(name, claimed_type, content)
    assert [file.media_type for file in await shelf.files()] == [media_type]
