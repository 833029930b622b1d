"""What every ``FileStore`` must do: keep what callers upload, whole, for their tenant alone. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypedDict, Unpack

import pytest

from tandem.errors import IdempotencyKeyReused, NotFound, TooManyRequests
from tandem.ids import FileId, TenantId
from tandem.ports import NewFile, Retention, Storage
from tandem.schemas.files import FileObject, FilePurpose
from tandem.settings import RetentionSettings
from tandem.testing.samples import ALICE, BOB, Samples, keyed
from tandem.testing.suites.job import MANY, created

ROOM: Final = 1_000_000
ALL_BYTES: Final = bytes(range(256))
SOON_S: Final = 0.001


class Described(TypedDict, total=False):
    """What a test may say of a file."""

    tenant: TenantId
    content: bytes
    purpose: FilePurpose
    expires_after_s: float | None


def new_file(samples: Samples, name: str = "notes.txt", **said: Unpack[Described]) -> NewFile:
    """A small file of Alice's that stays."""
    described: Described = {"tenant": ALICE, "content": b"two and three", "purpose": "user_data", "expires_after_s": None}
    return NewFile(samples.ids.file(), name=name, media_type="text/plain", **(described | said))


async def kept(storage: Storage, new: NewFile) -> FileObject:
    """The file as it was stored."""
    file, is_replay = await storage.files.add(new, max_total_bytes=ROOM)
    assert not is_replay
    return file


class FileConformance:
    """Uploaded files."""

    async def test_a_file_reads_back_byte_for_byte(self, storage: Storage, samples: Samples) -> None:
        new = new_file(samples, "季度 report.csv", content=ALL_BYTES, purpose="assistants")
        file = await kept(storage, new)
        assert (file.id, file.filename, file.bytes, file.purpose, file.media_type) == (new.id, "季度 report.csv", 256, "assistants", "text/plain")
        assert (file.sha256, file.expires_at) == (hashlib.sha256(ALL_BYTES).hexdigest(), None)
        assert await storage.files.get(new.id, ALICE) == file
        assert await storage.files.content(new.id, ALICE) == (file, ALL_BYTES)

    async def test_another_tenant_finds_none_of_them(self, storage: Storage, samples: Samples) -> None:
        new = new_file(samples)
        await kept(storage, new)
        for attempt in (storage.files.get, storage.files.content, storage.files.delete):
            with pytest.raises(NotFound, match=new.id):
                await attempt(new.id, BOB)
        with pytest.raises(NotFound, match=new.id):
            await storage.files.find([new.id], BOB)
        with pytest.raises(NotFound, match="after"):
            await storage.files.list(BOB, purpose=None, after=new.id, limit=MANY)
        assert not await storage.files.list(BOB, purpose=None, after=None, limit=MANY)
        assert await storage.files.get(new.id, ALICE)

    async def test_several_are_found_in_the_order_asked_and_the_missing_one_is_named(self, storage: Storage, samples: Samples) -> None:
        one, two = new_file(samples, "one"), new_file(samples, "two")
        files = [await kept(storage, one), await kept(storage, two)]
        assert list(await storage.files.find([two.id, one.id], ALICE)) == files[::-1]
        assert list(await storage.files.find([], ALICE)) == []
        missing = samples.ids.file()
        with pytest.raises(NotFound, match=missing):
            await storage.files.find([one.id, missing], ALICE)

    async def test_the_newest_come_first_and_pages_follow_one_another(self, storage: Storage, samples: Samples) -> None:
        files = [await kept(storage, new_file(samples, f"{number}.txt")) for number in range(5)]
        first = await storage.files.list(ALICE, purpose=None, after=None, limit=3)
        rest = await storage.files.list(ALICE, purpose=None, after=FileId(first[-1].id), limit=3)
        assert [*first, *rest] == files[::-1]
        first = await storage.files.list(ALICE, purpose=None, after=None, limit=3, is_oldest_first=True)
        rest = await storage.files.list(ALICE, purpose=None, after=FileId(first[-1].id), limit=3, is_oldest_first=True)
        assert [*first, *rest] == files

    async def test_a_purpose_narrows_the_list(self, storage: Storage, samples: Samples) -> None:
        wanted = await kept(storage, new_file(samples, purpose="assistants"))
        await kept(storage, new_file(samples))
        assert list(await storage.files.list(ALICE, purpose="assistants", after=None, limit=MANY)) == [wanted]

    async def test_a_deleted_file_is_gone_and_makes_room(self, storage: Storage, samples: Samples) -> None:
        new = new_file(samples, content=b"x" * ROOM)
        await kept(storage, new)
        await storage.files.delete(new.id, ALICE)
        for attempt in (storage.files.get, storage.files.content, storage.files.delete):
            with pytest.raises(NotFound, match=new.id):
                await attempt(new.id, ALICE)
        await kept(storage, new_file(samples, content=b"x" * ROOM))

    async def test_a_tenants_files_have_a_limit_together(self, storage: Storage, samples: Samples) -> None:
        await kept(storage, new_file(samples, content=b"x" * 600))
        await storage.files.add(new_file(samples, tenant=BOB, content=b"x" * 1_000), max_total_bytes=1_000)
        await storage.files.add(new_file(samples, content=b"x" * 400), max_total_bytes=1_000)
        with pytest.raises(TooManyRequests, match="1000") as refused:
            await storage.files.add(new_file(samples, content=b"x"), max_total_bytes=1_000)
        assert refused.value.retry_after_s

    async def test_two_uploads_at_once_cannot_pass_the_limit_together(self, peers: Sequence[Storage], samples: Samples) -> None:
        uploads = [peer.files.add(new_file(samples, content=b"x" * 600), max_total_bytes=1_000) for peer in peers]
        results = await asyncio.gather(*uploads, return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        assert [type(result) for result in refused] == [TooManyRequests] * (len(peers) - 1)

    async def test_an_upload_sent_again_is_found(self, storage: Storage, samples: Samples) -> None:
        first, _ = await storage.files.add(new_file(samples), max_total_bytes=ROOM, once=keyed())
        again, is_replay = await storage.files.add(new_file(samples), max_total_bytes=ROOM, once=keyed())
        assert (again, is_replay) == (first, True)
        with pytest.raises(IdempotencyKeyReused):
            await storage.files.add(new_file(samples), max_total_bytes=ROOM, once=keyed(fingerprint="other"))
        await storage.files.delete(FileId(first.id), ALICE)
        with pytest.raises(NotFound, match="fresh key"):
            await storage.files.add(new_file(samples), max_total_bytes=ROOM, once=keyed())

    async def test_a_job_names_only_files_that_are_there(self, storage: Storage, samples: Samples) -> None:
        mine, theirs, missing = new_file(samples), new_file(samples, tenant=BOB), samples.ids.file()
        await kept(storage, mine)
        await kept(storage, theirs)
        job_id = await created(storage, samples.job(files=[mine.id]))
        assert (await storage.jobs.get(job_id, ALICE)).request.files == [mine.id]
        for other in (theirs.id, missing):
            with pytest.raises(NotFound, match=other) as refused:
                await created(storage, samples.job(files=[mine.id, other]))
            assert refused.value.param == "files"

    async def test_an_expired_file_is_gone_before_it_is_swept(
        self, storage: Storage, samples: Samples, forgetting: Callable[[RetentionSettings], Retention]
    ) -> None:
        kept_files = [await kept(storage, new_file(samples)), await kept(storage, new_file(samples, expires_after_s=3_600.0))]
        assert kept_files[1].expires_at is not None
        expired = new_file(samples, content=b"x" * (ROOM - 26), expires_after_s=SOON_S)
        await storage.files.add(expired, max_total_bytes=ROOM)
        await asyncio.sleep(20 * SOON_S)
        for attempt in (storage.files.get, storage.files.content, storage.files.delete):
            with pytest.raises(NotFound, match="expired"):
                await attempt(expired.id, ALICE)
        assert list(await storage.files.list(ALICE, purpose=None, after=None, limit=MANY)) == kept_files[::-1]
        room, _ = await storage.files.add(new_file(samples, content=b"x" * (ROOM - 26)), max_total_bytes=ROOM)
        retention = forgetting(RetentionSettings())
        assert (await retention.sweep()).files == 1
        assert (await retention.sweep()).files == 0
        assert list(await storage.files.list(ALICE, purpose=None, after=None, limit=MANY)) == [room, *kept_files[::-1]]
