"""Effects that happen once: a model's reply is recorded with the job, so that a worker that takes the job over does not ask again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import JsonValue

from tandem.ids import JobId
from tandem.ports import JobStore


@dataclass(frozen=True, slots=True)
class Effects:
    """The ledger of one claimed job."""

    jobs: JobStore
    job_id: JobId
    epoch: int

    async def once(self, key: str, effect: Callable[[], Awaitable[JsonValue]]) -> tuple[JsonValue, bool]:
        """The effect's result, and whether it was recalled rather than made. Raises ``LeaseLost`` when the job has another owner."""
        if (recorded := await self.jobs.recall_effect(self.job_id, key)) is not None:
            return recorded, True
        return await self.jobs.record_effect(self.job_id, self.epoch, key, await effect()), False
