"""The check band of the responses door: a fast answer is tested before its end is told, and a failed one is worked out anew by a job.

The first answer is then void, as a job's words are whose worker was lost: in the stream its message ends as incomplete, and the response holds the
progress and the corrected message. The verdict is told under ``tandem.check``. Where no job can be had, or it brings no answer in time, the fast
answer stands; its job goes on, also when the client leaves.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace

from gateway.chat.slow import SlowLane, failure_of
from gateway.checks import Checked, Checks, FastAnswer, check_facts
from gateway.responses.items import output_message, reasoning_item
from gateway.responses.render import added_usage
from gateway.responses.story import answer_id, progress_id
from router.check import CheckVerdict
from tandem.ids import JobId
from tandem.ports import Clock, NewJob, StoredResponse
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import Job, JobStatus
from tandem.schemas.routing import Language


@dataclass(slots=True)
class Correction:
    """The test of one answer, and what comes of it.

    Args:
        make_job: The job of a task.
    """

    checks: Checks
    slow: SlowLane
    clock: Clock
    asked: Checked
    make_job: Callable[[list[ChatMessage]], NewJob]
    _verdict: CheckVerdict | None = None
    _job_id: JobId | None = None
    _lines: list[str] = field(default_factory=list[str])

    @property
    def language(self) -> Language:
        return self.asked.decision.language

    async def begin(self, answer: FastAnswer) -> bool:
        """Judge; whether a job has been started for a failed answer."""
        self._verdict = await self.checks.judge(self.asked, answer)
        if not self._verdict.passed:
            created = await self.checks.start(self.asked, self.make_job(self.asked.correction(answer)))
            self._job_id = None if created is None else JobId(created.job.id)
        return self._job_id is not None

    async def lines(self, deadline: float) -> AsyncGenerator[str | None]:
        """The job's progress until its end or the deadline (monotonic seconds); None for every silence."""
        assert self._job_id is not None, "there is only progress once a job has begun"  # noqa: S101 - for the type checker
        async with contextlib.aclosing(self.slow.lines(self._job_id, self.language)) as lines:
            async for line in lines:
                if line is not None:
                    self._lines.append(line)
                yield line
                if self.clock.monotonic() >= deadline:
                    return

    async def result(self, kept: StoredResponse) -> StoredResponse:
        """The response after the check: with the job's answer, or as it was kept; either way with the verdict."""
        if self._job_id is not None:
            job = await self.slow.jobs.get(self._job_id, self.asked.tenant)
            if failure_of(job) is None:
                return self._told(self._corrected(kept, job))
        return self._told(kept)

    def kept(self, answered: StoredResponse) -> StoredResponse:
        """The fast answer with what is known of its check so far."""
        return answered if self._verdict is None else self._told(answered)

    def _told(self, response: StoredResponse) -> StoredResponse:
        assert self._verdict is not None, "the answer was judged"  # noqa: S101 - for the type checker
        return replace(response, error={**(response.error or {}), "check": check_facts(self._verdict, self._job_id)})

    def _corrected(self, kept: StoredResponse, job: Job) -> StoredResponse:
        is_whole = job.status is JobStatus.COMPLETED
        incomplete: JsonObject = {"reason": "max_output_tokens"}
        return replace(
            kept,
            status="completed" if is_whole else "incomplete",
            output=[
                reasoning_item(progress_id(kept.id), "".join(self._lines), "completed"),
                output_message(answer_id(kept.id, 2), job.output_text or "", is_whole=is_whole),
            ],
            usage=added_usage(kept.usage, job.usage.input_tokens, job.usage.output_tokens),
            error=None if is_whole else incomplete,
        )
