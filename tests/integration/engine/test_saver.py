"""Our saver against LangGraph's own conformance suite, on both databases, and its fence."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import BASE_CAPABILITIES

from slow_worker.checkpoints import EPOCH, FencedSaver, run_config
from tandem.errors import LeaseLost
from tandem.ids import JobId
from tandem.ports import NewJob, Storage
from tandem.schemas.jobs import JobRequest, PlanStep
from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage
from tandem.testing.samples import ALICE, Samples
from tandem.testing.services import throw_away_database

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "postgresql"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "sqlite":
        settings = Settings(home=tmp_path, database=DatabaseSettings(synchronous="normal"))
        storage = open_storage(settings)
        await storage.migrate()
        yield storage
        await storage.close()
        return
    async with throw_away_database() as url:
        storage = open_storage(Settings.load({"TANDEM_HOME": str(tmp_path), "TANDEM_DATABASE_URL": url}))
        await storage.migrate()
        yield storage
        await storage.close()


async def claimed(storage: Storage, job_id: str) -> int:
    """The epoch of a fresh claim on a job of this name."""
    new = NewJob(id=JobId(job_id), tenant=ALICE, key_id=None, request=JobRequest(input="x"), effort="low", title="x")
    await storage.jobs.create(new, max_unfinished=10_000)
    claim = await storage.work.claim("test", 600, 5, job_id=JobId(job_id))
    assert claim is not None
    return claim.epoch


class AdoptingSaver(FencedSaver):
    """Makes a claimed job of every thread that the suite invents."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.work.checkpoints)
        self._storage = storage
        self._epochs: dict[str, int] = {}

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        place: dict[str, Any] = config.get("configurable", {})
        thread = place["thread_id"]
        if thread not in self._epochs:
            self._epochs[thread] = await claimed(self._storage, thread)
        return await super().aput({"configurable": {**place, EPOCH: self._epochs[thread]}}, checkpoint, metadata, new_versions)


async def test_it_conforms(storage: Storage) -> None:
    async def saver() -> AsyncGenerator[AdoptingSaver]:
        yield AdoptingSaver(storage)

    report = await validate(checkpointer_test(name="FencedSaver")(saver))

    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert not failures
    assert report.passed_all_base()
    assert sum(report.results[capability.value].tests_passed for capability in BASE_CAPABILITIES) >= 40


async def test_a_worker_that_lost_its_job_can_write_neither_checkpoint_nor_writes(storage: Storage) -> None:
    job_id = Samples().job().id
    epoch = await claimed(storage, job_id)
    saver = FencedSaver(storage.work.checkpoints)
    config = run_config(job_id, epoch)
    stored = await saver.aput(config, checkpoint("1"), {"source": "loop", "step": 0, "parents": {}}, {})
    await storage.work.release(job_id, epoch)

    with pytest.raises(LeaseLost):
        await saver.aput(stored, checkpoint("2"), {"source": "loop", "step": 1, "parents": {}}, {})
    with pytest.raises(LeaseLost):
        await saver.aput_writes(stored, [("channel", "value")], "task")

    newest = await saver.aget_tuple(config)
    assert newest is not None
    assert (newest.checkpoint["id"], newest.pending_writes) == ("1", [])


async def test_a_write_without_a_claim_is_refused_with_the_remedy(storage: Storage) -> None:
    saver = FencedSaver(storage.work.checkpoints)

    with pytest.raises(ValueError, match="epoch"):
        await saver.aput({"configurable": {"thread_id": "job_1"}}, checkpoint("1"), {"source": "loop", "step": 0, "parents": {}}, {})
    with pytest.raises(ValueError, match="per job"):
        await anext(saver.alist(None))


async def test_foreign_classes_are_not_restored(storage: Storage) -> None:
    saver = FencedSaver(storage.work.checkpoints)
    kept, foreign = saver.serde.dumps_typed(PlanStep(id="s1", title="x")), saver.serde.dumps_typed(Samples().job())

    assert isinstance(saver.serde.loads_typed(kept), PlanStep)
    assert not isinstance(saver.serde.loads_typed(foreign), NewJob)


def checkpoint(checkpoint_id: str) -> Checkpoint:
    return Checkpoint(v=2, id=checkpoint_id, ts="", channel_values={}, channel_versions={}, versions_seen={}, updated_channels=None)
