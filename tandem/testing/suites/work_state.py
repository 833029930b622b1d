"""What a job keeps from one worker to the next, in every ``JobWork``: ledger, artifacts, checkpoints. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence

import pytest

from tandem.errors import LeaseLost, NotFound
from tandem.ids import JobId
from tandem.ports import NewArtifact, Outcome, Storage, StoredCheckpoint, StoredWrite
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobFailure, JobStatus
from tandem.testing.samples import ALICE, Samples
from tandem.testing.suites.job import DONE, SHORT_LEASE_S, claimed, created, event_types, run_out


def checkpoint(id_: str, *, namespace: str = "", state: bytes = b"\x00state\xff", parent_id: str | None = None) -> StoredCheckpoint:
    """A state, opaque to the store."""
    return StoredCheckpoint(namespace, id_, parent_id, "msgpack", state, b"{}")


def write(task_id: str, place: int, value: bytes = b"value", channel: str = "channel") -> StoredWrite:
    """What a task has written."""
    return StoredWrite(task_id, place, channel, "msgpack", value, task_path=f"~{task_id}")


class LedgerConformance:
    """Effects."""

    async def test_an_effect_is_recorded_once(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert await storage.work.recall_effect(claim.job_id, "step") is None
        assert await storage.work.record_effect(claim.job_id, claim.epoch, "step", {"sent": 1}) == {"sent": 1}
        assert await storage.work.record_effect(claim.job_id, claim.epoch, "step", {"sent": 2}) == {"sent": 1}
        effect = await storage.work.recall_effect(claim.job_id, "step")
        assert effect is not None
        assert (effect.key, effect.is_done, effect.result, effect.epoch) == ("step", True, {"sent": 1}, claim.epoch)

    async def test_a_begun_effect_has_an_unknown_outcome_until_it_is_recorded(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert await storage.work.begin_effect(claim.job_id, claim.epoch, "send") is None
        begun = await storage.work.begin_effect(claim.job_id, claim.epoch, "send")
        assert begun == await storage.work.recall_effect(claim.job_id, "send")
        assert begun is not None
        assert (begun.is_done, begun.result) == (False, None)
        assert await storage.work.record_effect(claim.job_id, claim.epoch, "send", 1) == 1
        done = await storage.work.begin_effect(claim.job_id, claim.epoch, "send")
        assert done is not None
        assert (done.is_done, done.result, done.created_at) == (True, 1, begun.created_at)

    async def test_the_next_worker_sees_what_the_lost_one_had_begun(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        lost = await claimed(storage, job_id, SHORT_LEASE_S)
        await storage.work.begin_effect(job_id, lost.epoch, "send")
        await run_out()
        after = await claimed(storage, job_id)
        begun = await storage.work.begin_effect(job_id, after.epoch, "send")
        assert begun is not None
        assert (begun.is_done, begun.epoch) == (False, lost.epoch)

    async def test_a_recorded_null_is_told_from_nothing(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await storage.work.record_effect(claim.job_id, claim.epoch, "step", None)
        effect = await storage.work.recall_effect(claim.job_id, "step")
        assert effect is not None
        assert (effect.is_done, effect.result) == (True, None)
        assert await storage.work.record_effect(claim.job_id, claim.epoch, "step", 1) is None
        assert await storage.work.recall_effect(claim.job_id, "other") is None

    async def test_of_many_that_begin_one_effect_one_goes_first(self, peers: Sequence[Storage], samples: Samples) -> None:
        claim = await claimed(peers[0], await created(peers[0], samples.job()))
        begun = await asyncio.gather(*(peers[n % len(peers)].work.begin_effect(claim.job_id, claim.epoch, "send") for n in range(6)))
        assert begun.count(None) == 1


class ArtifactConformance:
    """Files that a job makes."""

    async def test_a_file_is_kept_and_told(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        new = NewArtifact(samples.ids.artifact(), "plot.png", "image/png", b"\x00\xff" * 40_000)
        artifact, appended = await storage.work.add_artifact(claim.job_id, claim.epoch, new)
        assert (artifact.id, artifact.name, artifact.media_type, artifact.size) == (new.id, "plot.png", "image/png", 80_000)
        assert [each.stream for each in appended] == [claim.job_id]
        assert (await storage.jobs.get(claim.job_id, ALICE)).artifacts == [artifact]
        assert await storage.jobs.artifact(claim.job_id, ALICE, new.id) == (artifact, new.content)
        assert (await event_types(storage, claim.job_id))[-1] == JobEvent.ARTIFACT_CREATED

    async def test_a_re_run_adds_a_file_of_the_same_name_no_second_time(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        lost = await claimed(storage, job_id, SHORT_LEASE_S)
        first, _ = await storage.work.add_artifact(job_id, lost.epoch, NewArtifact(samples.ids.artifact(), "a.txt", "text/plain", b"1"))
        await run_out()
        after = await claimed(storage, job_id)
        again, nothing = await storage.work.add_artifact(job_id, after.epoch, NewArtifact(samples.ids.artifact(), "a.txt", "text/plain", b"2"))
        other, _ = await storage.work.add_artifact(job_id, after.epoch, NewArtifact(samples.ids.artifact(), "b.txt", "text/plain", b"3"))
        assert (again, list(nothing)) == (first, [])
        assert (await storage.jobs.get(job_id, ALICE)).artifacts == [first, other]
        assert (await event_types(storage, job_id)).count(JobEvent.ARTIFACT_CREATED) == 2

    async def test_a_worker_reads_back_what_the_job_made(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        other = await claimed(storage, await created(storage, samples.job()))
        assert list(await storage.work.artifacts(claim.job_id)) == []
        made = [NewArtifact(samples.ids.artifact(), name, "image/png", content) for name, content in (("a.png", b"\x00\xff"), ("b.png", b"b"))]
        kept = [(await storage.work.add_artifact(claim.job_id, claim.epoch, new))[0] for new in made]
        assert list(await storage.work.artifacts(claim.job_id)) == kept
        assert [await storage.work.artifact_content(claim.job_id, new.id) for new in made] == [b"\x00\xff", b"b"]
        for job_id, artifact_id in ((other.job_id, made[0].id), (claim.job_id, samples.ids.artifact())):
            with pytest.raises(NotFound, match=artifact_id):
                await storage.work.artifact_content(job_id, artifact_id)


class CheckpointConformance:
    """States of graphs."""

    async def _claimed(self, storage: Storage, samples: Samples) -> tuple[JobId, int]:
        claim = await claimed(storage, await created(storage, samples.job()))
        return claim.job_id, claim.epoch

    async def test_the_newest_checkpoint_of_a_namespace_reads_back_with_its_writes(self, storage: Storage, samples: Samples) -> None:
        job_id, epoch = await self._claimed(storage, samples)
        store = storage.work.checkpoints
        first, second = checkpoint("1"), checkpoint("2", parent_id="1")
        for each in (second, first, checkpoint("9", namespace="inner")):
            await store.put(job_id, epoch, each)
        writes = [write("task_a", 0), write("task_a", 1, b"\xff"), write("task_b", 0)]
        await store.put_writes(job_id, epoch, "", "2", [writes[2], writes[1], writes[0]])
        newest = await store.get(job_id, "", None)
        assert newest == StoredCheckpoint("", "2", "1", "msgpack", second.state, second.metadata, writes)
        assert await store.get(job_id, "", "1") == StoredCheckpoint("", "1", None, "msgpack", first.state, first.metadata, [])
        assert (await store.get(job_id, "", "3"), await store.get(samples.ids.job(), "", None)) == (None, None)

    async def test_a_checkpoint_put_again_is_replaced(self, storage: Storage, samples: Samples) -> None:
        job_id, epoch = await self._claimed(storage, samples)
        for state in (b"old", b"new"):
            await storage.work.checkpoints.put(job_id, epoch, checkpoint("1", state=state))
        found = [each async for each in storage.work.checkpoints.list(job_id, None, before=None, limit=None)]
        assert [each.state for each in found] == [b"new"]

    async def test_a_write_stays_unless_its_channel_is_special(self, storage: Storage, samples: Samples) -> None:
        job_id, epoch = await self._claimed(storage, samples)
        store = storage.work.checkpoints
        await store.put(job_id, epoch, checkpoint("1"))
        for value in (b"first", b"second"):
            await store.put_writes(job_id, epoch, "", "1", [write("task", -1, value), write("task", 0, value)])
        await store.put_writes(job_id, epoch, "", "1", [])
        found = await store.get(job_id, "", "1")
        assert found is not None
        assert [(each.place, each.value) for each in found.writes] == [(-1, b"second"), (0, b"first")]

    async def test_writes_may_come_before_their_checkpoint(self, storage: Storage, samples: Samples) -> None:
        job_id, epoch = await self._claimed(storage, samples)
        store = storage.work.checkpoints
        await store.put_writes(job_id, epoch, "", "1", [write("task", 0)])
        assert await store.get(job_id, "", None) is None
        await store.put(job_id, epoch, checkpoint("1"))
        found = await store.get(job_id, "", None)
        assert found is not None
        assert list(found.writes) == [write("task", 0)]

    async def test_checkpoints_are_listed_newest_first(self, storage: Storage, samples: Samples) -> None:
        job_id, epoch = await self._claimed(storage, samples)
        store = storage.work.checkpoints
        ids = [f"{n:03}" for n in range(50)]
        for id_ in ids:
            await store.put(job_id, epoch, checkpoint(id_))
        await store.put(job_id, epoch, checkpoint("049", namespace="inner"))
        await store.put_writes(job_id, epoch, "", "048", [write("task", 0)])

        async def listed(namespace: str | None, before: str | None = None, limit: int | None = None) -> list[str]:
            return [each.id async for each in store.list(job_id, namespace, before=before, limit=limit)]

        assert await listed("") == ids[::-1]
        assert await listed(None) == ["049", *ids[::-1]]
        assert await listed("", before="045", limit=30) == ids[44:14:-1]
        assert await listed(None, limit=0) == []
        assert [list(each.writes) async for each in store.list(job_id, "", before="049", limit=1)] == [[write("task", 0)]]

    async def test_one_jobs_checkpoints_are_not_anothers(self, storage: Storage, samples: Samples) -> None:
        store = storage.work.checkpoints
        (one, epoch), (other, other_epoch) = await self._claimed(storage, samples), await self._claimed(storage, samples)
        await store.put(one, epoch, checkpoint("1", state=b"one"))
        await store.put(other, other_epoch, checkpoint("1", state=b"other"))
        await store.delete(one)
        found = await store.get(other, "", None)
        assert found is not None
        assert (await store.get(one, "", None), found.state) == (None, b"other")

    async def test_a_completed_job_drops_its_checkpoints_and_a_failed_one_keeps_them(self, storage: Storage, samples: Samples) -> None:
        store = storage.work.checkpoints
        failed = Outcome(JobStatus.FAILED, error=JobFailure(code="x", message="y"))
        for outcome, is_kept in ((DONE, False), (failed, True)):
            job_id, epoch = await self._claimed(storage, samples)
            await store.put(job_id, epoch, checkpoint("1"))
            await store.put_writes(job_id, epoch, "", "1", [write("task", 0)])
            await storage.work.finish(job_id, epoch, outcome)
            assert (await store.get(job_id, "", None) is not None) == is_kept

    async def test_nobody_moves_the_state_of_an_ended_job(self, storage: Storage, samples: Samples) -> None:
        job_id, epoch = await self._claimed(storage, samples)
        await storage.work.finish(job_id, epoch, DONE)
        with pytest.raises(LeaseLost):
            await storage.work.checkpoints.put(job_id, epoch, checkpoint("1"))
        with pytest.raises(LeaseLost):
            await storage.work.checkpoints.put_writes(job_id, epoch, "", "1", [write("task", 0)])
