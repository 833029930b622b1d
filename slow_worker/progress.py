"""What the world sees of a running job: events and the ``JobView``, written together, in order, under the worker's epoch.

Each report is made at most once per job: a report that would not change the view (a resumed run repeats itself) is left out. The notifier is told
after the commit, never before.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

from pydantic import JsonValue

from slow_worker.workspace import Try
from tandem.ids import StreamId
from tandem.ports import Appended, Claim, Clock, JobStore, NewEvent, Notifier
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Check, JobView, LastEvent, PlanStep, Usage

DELTA_PAUSE_S: Final = 0.1
"""Text is sent at most this often."""
DELTA_CHARS: Final = 2_000
"""... unless this much is waiting."""


class Progress:
    """Reports of one claimed job."""

    def __init__(
        self, claim: Claim, jobs: JobStore, notifier: Notifier, clock: Clock, spent: Callable[[], Usage], *, last_seq: int, has_streamed: bool
    ) -> None:
        self._claim = claim
        self._jobs = jobs
        self._notifier = notifier
        self._clock = clock
        self._spent = spent
        self._last_seq = last_seq
        self._has_streamed = has_streamed
        self._lock = asyncio.Lock()
        self.view = claim.view

    async def plan_created(self, steps: Sequence[PlanStep]) -> None:
        async with self._lock:
            if not self.view.plan:
                data: dict[str, JsonValue] = {"steps": [step.model_dump(mode="json") for step in steps]}
                await self._append(JobEvent.PLAN_CREATED, data, f"planned {len(steps)} steps", plan=list(steps))

    async def step_started(self, step_id: str) -> None:
        await self._move(step_id, "running", JobEvent.STEP_STARTED)

    async def step_completed(self, step_id: str, note: str = "", state: Literal["done", "failed", "skipped"] = "done") -> None:
        await self._move(step_id, state, JobEvent.STEP_COMPLETED, note)

    async def solution_attempted(self, attempt: Try) -> None:
        shown = attempt.as_attempt()
        async with self._lock:
            if all(known.id != shown.id for known in self.view.attempts):
                text = f"{shown.strategy} attempt: {shown.answer or shown.error or 'no answer'}"
                await self._append(JobEvent.SOLUTION_ATTEMPTED, shown.model_dump(mode="json"), text, attempts=[*self.view.attempts, shown])

    async def tool_started(self, tool: str, call_id: str) -> None:
        async with self._lock:
            await self._append(JobEvent.TOOL_STARTED, {"tool": tool, "call_id": call_id}, f"started {tool}")

    async def tool_completed(self, tool: str, call_id: str, *, ok: bool, summary: str) -> None:
        data: dict[str, JsonValue] = {"tool": tool, "call_id": call_id, "ok": ok, "summary": summary}
        async with self._lock:
            await self._append(JobEvent.TOOL_COMPLETED, data, f"{tool} {'finished' if ok else 'failed'}")

    async def verified(self, check: Check) -> None:
        kind = JobEvent.VERIFICATION_PASSED if check.passed else JobEvent.VERIFICATION_FAILED
        async with self._lock:
            await self._append(kind, check.model_dump(mode="json"), f"check {check.name} {'passed' if check.passed else 'failed'}")

    async def budget_reached(self, message: str) -> None:
        async with self._lock:
            await self._append(JobEvent.BUDGET_REACHED, {"message": message}, "budget reached")

    async def text_done(self, text: str) -> None:
        """The final text, whole; where no piece of it was streamed it is also sent as one delta."""
        async with self._lock:
            if not self._has_streamed:
                await self._delta(text)
            await self._append(JobEvent.TEXT_DONE, {"text": text}, "answer written")

    @asynccontextmanager
    async def text_stream(self) -> AsyncGenerator["TextStream"]:
        """Sends the final text while it is written. In a job whose text was streamed before (its worker died) nothing is sent twice."""
        stream = TextStream(self, is_muted=self._has_streamed)
        yield stream
        await stream.flush()

    async def send_delta(self, text: str) -> None:
        async with self._lock:
            await self._delta(text)

    def now(self) -> float:
        return self._clock.monotonic()

    async def _delta(self, text: str) -> None:
        if text:
            self._has_streamed = True
            # Without the view: pieces of text are too many to mirror each into the job's thread.
            await self._write([NewEvent(JobEvent.TEXT_DELTA, {"delta": text})], None)

    async def _move(self, step_id: str, state: Literal["running", "done", "failed", "skipped"], event: str, note: str = "") -> None:
        async with self._lock:
            step = next((step for step in self.view.plan if step.id == step_id), None)
            if step is None or step.state == state or (state == "running" and step.state != "pending"):
                return
            plan = [each.model_copy(update={"state": state}) if each.id == step_id else each for each in self.view.plan]
            data: dict[str, JsonValue] = {"step_id": step_id, "title": step.title}
            if event == JobEvent.STEP_COMPLETED:
                data["note"] = note
            await self._append(event, data, f"{'started' if state == 'running' else state}: {step.title}", plan=plan)

    async def _append(self, event: str, data: dict[str, JsonValue], text: str, **changes: object) -> None:
        last = LastEvent(seq=self._last_seq + 1, at=self._clock.now(), text=text[:200])
        view = self.view.model_copy(update={**changes, "last_event": last, "usage": self._spent()})
        await self._write([NewEvent(event, data)], view)
        self.view = view

    async def _write(self, events: Sequence[NewEvent], view: JobView | None) -> None:
        appended = await self._jobs.append(self._claim.job_id, self._claim.epoch, events, view)
        self._last_seq = newest_seq(appended, self._claim.job_id, self._last_seq + len(events))
        await self._notifier.notify(appended)


class TextStream:
    """Gathers pieces of text and sends them a few times a second."""

    def __init__(self, progress: Progress, *, is_muted: bool) -> None:
        self._progress = progress
        self._is_muted = is_muted
        self._waiting: list[str] = []
        self._sent_at = progress.now() - DELTA_PAUSE_S

    async def add(self, text: str) -> None:
        self._waiting.append(text)
        is_due = self._progress.now() - self._sent_at >= DELTA_PAUSE_S
        if is_due or sum(map(len, self._waiting)) >= DELTA_CHARS:
            await self.flush()

    async def flush(self) -> None:
        text, self._waiting = "".join(self._waiting), []
        self._sent_at = self._progress.now()
        if text and not self._is_muted:
            await self._progress.send_delta(text)


def newest_seq(appended: Sequence[Appended], stream: str, default: int) -> int:
    """Newest sequence number of one log among those that grew."""
    return max((item.last_seq for item in appended if item.stream == StreamId(stream)), default=default)
