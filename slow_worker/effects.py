"""Effects that happen once: what a model or a tool answered is recorded with the job, so that a worker that takes the job over does not ask again.

What only reads may be asked again by a worker that takes over before the answer is recorded. What writes is announced first: a line that stands
without a result says that nobody knows whether it happened.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import JsonValue

from tandem.errors import OutcomeUnknown
from tandem.ids import JobId
from tandem.ports import Effect, JobWork


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger holds, and since when."""

    result: JsonValue
    is_recalled: bool
    """An earlier run of this job made it: whether its cost is in the job's usage must be looked up."""
    is_inherited: bool = False
    """The job that this one tries again made it: it costs nothing here."""


@dataclass(frozen=True, slots=True)
class Effects:
    """The ledger of one claimed job. Keys name step and call, and stay the same over all runs of the job."""

    work: JobWork
    job_id: JobId
    epoch: int

    async def recall(self, key: str) -> Recorded | None:
        """What was recorded; None when nothing was."""
        line = await self.work.recall_effect(self.job_id, key)
        return _recorded(line) if line is not None and line.is_done else None

    async def is_begun(self, key: str) -> bool:
        """Whether a line stands, with or without an outcome."""
        return await self.work.recall_effect(self.job_id, key) is not None

    async def settle(self, key: str, result: JsonValue) -> JsonValue:
        """Record what became of something that was begun; an earlier outcome wins, and is returned. Raises ``LeaseLost``."""
        return await self.work.record_effect(self.job_id, self.epoch, key, result)

    async def once(self, key: str, effect: Callable[[], Awaitable[JsonValue]]) -> Recorded:
        """The result of something that reads, recalled or made. Raises ``LeaseLost``."""
        return await self.recall(key) or Recorded(await self.work.record_effect(self.job_id, self.epoch, key, await effect()), is_recalled=False)

    async def act(self, key: str, effect: Callable[[], Awaitable[JsonValue]]) -> Recorded:
        """The result of something that writes, recalled or made; it is never made twice.

        Raises:
            OutcomeUnknown: An earlier run began it and recorded no outcome.
            LeaseLost: The job has another owner; nothing was called.
        """
        line = await self.work.begin_effect(self.job_id, self.epoch, key)
        if line is None:
            return Recorded(await self.work.record_effect(self.job_id, self.epoch, key, await effect()), is_recalled=False)
        if line.is_done:
            return _recorded(line)
        begun = line.created_at.isoformat(timespec="seconds")
        raise OutcomeUnknown(f"{key!r} was begun at {begun} and its outcome is unknown; find out whether it happened before you retry the job")


def _recorded(line: Effect) -> Recorded:
    """Lines of a retried job were copied under epoch 0, which no claim ever has."""
    return Recorded(line.result, is_recalled=line.epoch > 0, is_inherited=line.epoch == 0)
