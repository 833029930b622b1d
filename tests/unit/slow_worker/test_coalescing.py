"""Checkpoints written a moment late: the newest of a namespace is kept, nothing that stops a graph waits, and a refusal is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from slow_worker.coalescing import CoalescingCheckpoints
from tandem.errors import LeaseLost, StorageUnavailable
from tandem.ids import JobId
from tandem.ports import StoredCheckpoint, StoredWrite

JOB = JobId("job_a")
SOON_S = 0.005
NEVER_S = 60.0


@dataclass
class Recorder:
    """A ``CheckpointStore`` that writes down its calls."""

    calls: list[str] = field(default_factory=list[str])
    refusal: Exception | None = None

    async def put(self, job_id: JobId, epoch: int, checkpoint: StoredCheckpoint) -> None:
        self._call(f"put {checkpoint.namespace}{checkpoint.id}@{epoch}")

    async def put_writes(self, job_id: JobId, epoch: int, namespace: str, checkpoint_id: str, writes: Sequence[StoredWrite]) -> None:
        self._call(f"writes {namespace}{checkpoint_id}: {' '.join(write.task_id for write in writes)}")

    async def get(self, job_id: JobId, namespace: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        self._call("get")
        return None

    async def list(self, job_id: JobId, namespace: str | None, *, before: str | None, limit: int | None) -> AsyncIterator[StoredCheckpoint]:
        self._call("list")
        return
        yield  # makes this a generator

    async def delete(self, job_id: JobId) -> None:
        self._call("delete")

    def _call(self, what: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.calls.append(what)


def checkpoint(name: str, namespace: str = "") -> StoredCheckpoint:
    return StoredCheckpoint(namespace=namespace, id=name, parent_id=None, kind="msgpack", state=b"", metadata=b"{}")


def write(task: str, place: int = 0) -> StoredWrite:
    return StoredWrite(task_id=task, place=place, channel="c", kind="msgpack", value=b"")


@pytest.fixture
def store() -> Recorder:
    return Recorder()


async def test_a_checkpoint_that_is_replaced_at_once_is_never_written(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, SOON_S)
    await late.put(JOB, 1, checkpoint("1"))
    await late.put_writes(JOB, 1, "", "1", [write("t")])
    await late.put(JOB, 1, checkpoint("2"))
    await late.put_writes(JOB, 1, "", "2", [write("u")])
    await asyncio.sleep(20 * SOON_S)
    assert store.calls == ["put 2@1", "writes 2: u"]


async def test_namespaces_do_not_replace_each_other(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, NEVER_S)
    await late.put(JOB, 1, checkpoint("1"))
    await late.put(JOB, 1, checkpoint("1", "sub:"))
    await late.put(JOB, 1, checkpoint("2", "sub:"))
    await late.flush(JOB)
    assert store.calls == ["put 1@1", "put sub:2@1"]
    await late.drop(JOB)


async def test_what_stops_a_graph_is_written_at_once_after_all_before_it(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, NEVER_S)
    await late.put(JOB, 1, checkpoint("1"))
    await late.put_writes(JOB, 1, "", "1", [write("asking", place=-3)])
    assert store.calls == ["put 1@1", "writes 1: asking"]
    await late.drop(JOB)


async def test_a_reader_sees_what_is_held(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, NEVER_S)
    await late.put(JOB, 1, checkpoint("1"))
    await late.get(JOB, "", None)
    await late.put(JOB, 1, checkpoint("2"))
    assert [each async for each in late.list(JOB, None, before=None, limit=None)] == []
    assert store.calls == ["put 1@1", "get", "put 2@1", "list"]
    await late.drop(JOB)


async def test_what_a_dropped_job_held_is_never_written(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, SOON_S)
    await late.put(JOB, 1, checkpoint("1"))
    await late.drop(JOB)
    await asyncio.sleep(4 * SOON_S)
    assert store.calls == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_another_claim_starts_with_nothing_held(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, NEVER_S)
    await late.put(JOB, 1, checkpoint("old"))
    await late.put(JOB, 2, checkpoint("new"))
    await late.flush(JOB)
    assert store.calls == ["put new@2"]
    await late.drop(JOB)


async def test_a_refused_late_write_is_told_at_the_next_call(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, SOON_S)
    store.refusal = LeaseLost("another worker owns it")
    await late.put(JOB, 1, checkpoint("1"))
    await asyncio.sleep(4 * SOON_S)
    with pytest.raises(LeaseLost):
        await late.put(JOB, 1, checkpoint("2"))
    await late.drop(JOB)


async def test_a_database_that_was_away_loses_nothing(store: Recorder) -> None:
    late = CoalescingCheckpoints(store, NEVER_S)
    await late.put(JOB, 1, checkpoint("1"))
    await late.put_writes(JOB, 1, "", "1", [write("t")])
    store.refusal = StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        await late.flush(JOB)
    store.refusal = None
    await late.flush(JOB)
    assert store.calls == ["put 1@1", "writes 1: t"]
    await late.drop(JOB)
