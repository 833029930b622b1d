"""LangGraph's checkpoints in Tandem's own tables: one saver over the ``CheckpointStore``, for SQLite and PostgreSQL alike.

The thread is the job, and the run's config brings the claim's epoch (``run_config``): every write is refused with ``LeaseLost`` once another worker
owns the job. The serializer restores only the workspace's classes.
"""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from slow_worker.workspace import CHECKPOINTED
from tandem.ids import JobId
from tandem.ports import CheckpointStore, StoredCheckpoint, StoredWrite

EPOCH: Final = "epoch"
"""Key of the claim's epoch among a config's ``configurable``."""


def run_config(job_id: JobId, epoch: int) -> RunnableConfig:
    """The config under which one claim runs its graph."""
    return {"configurable": {"thread_id": job_id, EPOCH: epoch}}


class FencedSaver(BaseCheckpointSaver[str]):
    """Implements the asynchronous half of LangGraph's saver; listing is per job."""

    def __init__(self, store: CheckpointStore) -> None:
        super().__init__(serde=JsonPlusSerializer(allowed_msgpack_modules=[(kind.__module__, kind.__name__) for kind in CHECKPOINTED]))
        self._store = store

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = config.get("configurable", {})
        stored = await self._store.get(JobId(place["thread_id"]), place.get("checkpoint_ns", ""), place.get("checkpoint_id"))
        return None if stored is None else self._restored(place, stored)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Newest first. Raises ``ValueError`` without a thread: checkpoints are never listed across jobs."""
        place = (config or {}).get("configurable", {})
        if "thread_id" not in place:
            raise ValueError("checkpoints are listed per job; give the job's id as configurable['thread_id']")
        newest = None if before is None else before.get("configurable", {}).get("checkpoint_id")
        found = 0
        # The filter looks into the metadata, which the store cannot read; so the limit counts here.
        stored = self._store.list(JobId(place["thread_id"]), place.get("checkpoint_ns"), before=newest, limit=None if filter else limit)
        async for each in stored:
            restored = self._restored(place, each)
            if filter and any(dict(restored.metadata).get(key) != value for key, value in filter.items()):
                continue
            if limit is not None and found >= limit:
                return
            found += 1
            yield restored

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002 - a checkpoint is stored whole
    ) -> RunnableConfig:
        """Raises ``LeaseLost``."""
        place = config.get("configurable", {})
        kind, state = self.serde.dumps_typed(checkpoint)
        stored = StoredCheckpoint(
            namespace=place.get("checkpoint_ns", ""),
            id=checkpoint["id"],
            parent_id=place.get("checkpoint_id"),
            kind=kind,
            state=state,
            metadata=json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False).encode(),
        )
        await self._store.put(JobId(place["thread_id"]), _epoch(place), stored)
        return _config(place, stored.namespace, stored.id)

    async def aput_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Raises ``LeaseLost``."""
        place = config.get("configurable", {})
        stored: list[StoredWrite] = []
        for index, (channel, value) in enumerate(writes):
            kind, data = self.serde.dumps_typed(value)
            stored.append(StoredWrite(task_id, WRITES_IDX_MAP.get(channel, index), channel, kind, data, task_path))
        await self._store.put_writes(JobId(place["thread_id"]), _epoch(place), place.get("checkpoint_ns", ""), place["checkpoint_id"], stored)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._store.delete(JobId(thread_id))

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002 - LangGraph's signature
        """Versions sort as text."""
        return f"{int(current or 0) + 1:016}"

    def _restored(self, place: dict[str, Any], stored: StoredCheckpoint) -> CheckpointTuple:
        writes = sorted(stored.writes, key=lambda write: writes_sort_key(write.task_path, write.task_id, write.place))
        return CheckpointTuple(
            config=_config(place, stored.namespace, stored.id),
            checkpoint=cast("Checkpoint", self.serde.loads_typed((stored.kind, stored.state))),
            metadata=cast("CheckpointMetadata", json.loads(stored.metadata)),
            parent_config=None if stored.parent_id is None else _config(place, stored.namespace, stored.parent_id),
            pending_writes=[(write.task_id, write.channel, self.serde.loads_typed((write.kind, write.value))) for write in writes],
        )


def _config(place: dict[str, Any], namespace: str, checkpoint_id: str) -> RunnableConfig:
    epoch = {EPOCH: place[EPOCH]} if EPOCH in place else {}
    return {"configurable": {"thread_id": place["thread_id"], "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id, **epoch}}


def _epoch(place: dict[str, Any]) -> int:
    if EPOCH not in place:
        raise ValueError(f"a checkpoint is written under a claim; put the claim's epoch into configurable[{EPOCH!r}]")
    return int(place[EPOCH])
