"""Checkpoints that are written a moment late, so that those which a newer one replaces at once are not written at all.

LangGraph stores a checkpoint before and after every step, and each costs a durable commit. What is younger than ``HOLD_S`` when its process dies is
lost, and the steps since then run again; nothing dear can be lost that way, because every effect of a step (a model's reply, a tool's answer) is in
the ledger before the step is done. What stops a graph (its questions, its errors) is written at once.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tandem.ids import JobId
from tandem.ports import CheckpointStore, StoredCheckpoint, StoredWrite

HOLD_S: Final = 0.025
"""Longest seconds between a step's end and the commit of its checkpoint."""


@dataclass(slots=True)
class _Held:
    """What one job has not written yet."""

    epoch: int
    checkpoints: dict[str, StoredCheckpoint] = field(default_factory=dict[str, StoredCheckpoint])
    """The newest of each namespace."""
    writes: dict[tuple[str, str], list[StoredWrite]] = field(default_factory=dict[tuple[str, str], list[StoredWrite]])
    """By namespace and checkpoint."""
    timer: asyncio.Task[None] | None = None
    order: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One flush after the other."""


class CoalescingCheckpoints:
    """Implements ``CheckpointStore`` over another one.

    A late write that is refused raises at the job's next call: ``LeaseLost``, or ``StorageUnavailable`` with nothing forgotten.
    """

    def __init__(self, store: CheckpointStore, hold_s: float = HOLD_S) -> None:
        self._store = store
        self._hold_s = hold_s
        self._held: dict[JobId, _Held] = {}

    async def put(self, job_id: JobId, epoch: int, checkpoint: StoredCheckpoint) -> None:
        held = await self._take(job_id, epoch)
        # Of a namespace only the newest state is resumed from, so the writes of the one before are history.
        held.writes = {key: writes for key, writes in held.writes.items() if key[0] != checkpoint.namespace}
        held.checkpoints[checkpoint.namespace] = checkpoint

    async def put_writes(self, job_id: JobId, epoch: int, namespace: str, checkpoint_id: str, writes: Sequence[StoredWrite]) -> None:
        if any(write.place < 0 for write in writes):
            await self.flush(job_id)
            await self._store.put_writes(job_id, epoch, namespace, checkpoint_id, writes)
            return
        held = await self._take(job_id, epoch)
        held.writes.setdefault((namespace, checkpoint_id), []).extend(writes)

    async def get(self, job_id: JobId, namespace: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        await self.flush(job_id)
        return await self._store.get(job_id, namespace, checkpoint_id)

    async def list(self, job_id: JobId, namespace: str | None, *, before: str | None, limit: int | None) -> AsyncIterator[StoredCheckpoint]:
        await self.flush(job_id)
        async for checkpoint in self._store.list(job_id, namespace, before=before, limit=limit):
            yield checkpoint

    async def delete(self, job_id: JobId) -> None:
        await self.drop(job_id)
        await self._store.delete(job_id)

    async def flush(self, job_id: JobId) -> None:
        """Write now what is held of a job. Raises what the store raises."""
        if (held := self._held.get(job_id)) is None:
            return
        async with held.order:
            checkpoints, writes = held.checkpoints, held.writes
            held.checkpoints, held.writes = {}, {}
            try:
                for checkpoint in checkpoints.values():
                    await self._store.put(job_id, held.epoch, checkpoint)
                for (namespace, checkpoint_id), group in writes.items():
                    await self._store.put_writes(job_id, held.epoch, namespace, checkpoint_id, group)
            except BaseException:
                # Writing twice changes nothing, so all of it is tried again; what has come in meanwhile is newer.
                held.checkpoints = checkpoints | held.checkpoints
                held.writes = writes | held.writes
                raise

    async def drop(self, job_id: JobId) -> None:
        """Forget what is held of a job that has ended, or that belongs to another worker."""
        held = self._held.pop(job_id, None)
        if held is not None and held.timer is not None:
            held.timer.cancel()
            # What it may have met concerns nobody any more; gathering marks it as seen.
            await asyncio.gather(held.timer, return_exceptions=True)

    async def _take(self, job_id: JobId, epoch: int) -> _Held:
        """What is held of this claim, with a flush under way. Raises what the flush before has met."""
        held = self._held.get(job_id)
        if held is None or held.epoch != epoch:
            await self.drop(job_id)
            held = self._held[job_id] = _Held(epoch)
        if held.timer is None or held.timer.done():
            if held.timer is not None:
                held.timer.result()
            held.timer = asyncio.create_task(self._flush_late(job_id), name=f"checkpoints {job_id}")
        return held

    async def _flush_late(self, job_id: JobId) -> None:
        await asyncio.sleep(self._hold_s)
        await self.flush(job_id)
