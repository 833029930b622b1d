"""What the world sees of a running job: events and the ``JobView``, written together, in order, under the worker's epoch.

Each report is made at most once per job: a report that would not change the view (a resumed run repeats itself) is left out. The notifier is told
after the commit, never before.

The output items are those of OpenAI's protocol: the progress is a ``reasoning`` item, which ends when the text begins; the text is a ``message``. A
message that was left unfinished is void (the claim has said so) and the text is written again, as the next item.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

from pydantic import JsonValue

from slow_worker.budget import BudgetLedger
from slow_worker.plans import WRITE
from slow_worker.workspace import Try
from tandem.ids import StreamId
from tandem.ports import Appended, Claim, Clock, JobWork, NewEvent, Notifier
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Check, JobView, LastEvent, PlanStep

DELTA_PAUSE_S: Final = 0.1
"""Text is sent at most this often."""
DELTA_CHARS: Final = 2_000
"""... unless this much is waiting; no single piece is longer."""

StepState = Literal["running", "done", "failed", "skipped"]


class Progress:
    """Reports of one claimed job."""

    def __init__(self, claim: Claim, work: JobWork, notifier: Notifier, clock: Clock, ledger: BudgetLedger) -> None:
        self._claim = claim
        self._work = work
        self._notifier = notifier
        self._clock = clock
        self._ledger = ledger
        self._last_seq = newest_seq(claim.appended, claim.job_id, -1)
        self._items = claim.items
        self._is_writing = False
        self._lock = asyncio.Lock()
        self.view = claim.view
        self._is_written = claim.items > 1 and self.is_done(WRITE)

    def is_done(self, step_id: str) -> bool:
        """Whether a step of the plan has ended, in this run or an earlier one."""
        return any(step.id == step_id and step.state in {"done", "failed"} for step in self.view.plan)

    def knows_attempt(self, attempt_id: str) -> bool:
        """Whether an attempt was reported, in this run or an earlier one."""
        return any(known.id == attempt_id for known in self.view.attempts)

    async def plan_created(self, steps: Sequence[PlanStep], *, is_edited: bool = False) -> None:
        """Tell the plan once, and again when somebody has edited it."""
        async with self._lock:
            is_known = [step.title for step in steps] == [step.title for step in self.view.plan]
            if not self.view.plan or (is_edited and not is_known):
                data: dict[str, JsonValue] = {"steps": [step.model_dump(mode="json") for step in steps]}
                await self._append([NewEvent(JobEvent.PLAN_CREATED, data)], f"planned {len(steps)} steps", plan=list(steps))

    async def step_started(self, step_id: str) -> None:
        await self._move(step_id, "running")

    async def step_completed(self, step_id: str, note: str = "", state: StepState = "done") -> None:
        await self._move(step_id, state, note)

    async def solution_attempted(self, attempt: Try) -> None:
        shown = attempt.as_attempt()
        async with self._lock:
            if not self.knows_attempt(shown.id):
                text = f"{shown.strategy} attempt: {shown.answer or shown.error or 'no answer'}"
                events = [NewEvent(JobEvent.SOLUTION_ATTEMPTED, shown.model_dump(mode="json"))]
                await self._append(events, text, attempts=[*self.view.attempts, shown])

    async def tool_started(self, tool: str, call_id: str, arguments: JsonObject, digest: str) -> None:
        """``arguments`` are redacted; ``digest`` stands for the whole."""
        data: JsonObject = {"tool": tool, "call_id": call_id, "arguments": arguments, "arguments_digest": digest}
        async with self._lock:
            await self._append([NewEvent(JobEvent.TOOL_STARTED, data)], f"started {tool}")

    async def tool_progressed(self, tool: str, call_id: str, note: str) -> None:
        """A long call is alive: the job counts as moving."""
        async with self._lock:
            await self._append([NewEvent(JobEvent.TOOL_PROGRESS, {"tool": tool, "call_id": call_id, "note": note})], f"{tool}: {note}")

    async def tool_completed(self, tool: str, call_id: str, *, ok: bool, summary: str) -> None:
        data: dict[str, JsonValue] = {"tool": tool, "call_id": call_id, "ok": ok, "summary": summary}
        async with self._lock:
            await self._append([NewEvent(JobEvent.TOOL_COMPLETED, data)], f"{tool} {'finished' if ok else 'failed'}")

    async def verified(self, check: Check) -> None:
        kind = JobEvent.VERIFICATION_PASSED if check.passed else JobEvent.VERIFICATION_FAILED
        async with self._lock:
            events = [NewEvent(kind, check.model_dump(mode="json"))]
            await self._append(events, f"check {check.name} {'passed' if check.passed else 'failed'}")

    async def budget_reached(self, message: str) -> None:
        async with self._lock:
            await self._append([NewEvent(JobEvent.BUDGET_REACHED, {"message": message})], "budget reached")

    async def take_steers(self, step: str) -> list[str]:
        """Everything people have added so far; what is new counts as applied at ``step``."""
        async with self._lock:
            steers, appended = await self._work.take_steers(self._claim.job_id, self._claim.epoch, step)
            await self.told(appended)
        return [steer.message for steer in steers]

    async def told(self, appended: Sequence[Appended]) -> None:
        """Something else appended to the job's log under this claim."""
        self._last_seq = newest_seq(appended, self._claim.job_id, self._last_seq)
        await self._notifier.notify(appended)

    async def text_done(self, text: str) -> None:
        """The final text, whole, and the end of the writing, in one transaction; where no piece of it was streamed it is also sent as deltas."""
        async with self._lock:
            if self._is_written:
                return
            events = [] if self._is_writing else [*self._open_message(), *self._deltas(text)]
            place = self._place
            item = {"item_id": place["item_id"], "output_index": place["output_index"], "item_type": "message"}
            events += [NewEvent(JobEvent.TEXT_DONE, {"text": text, **place}), NewEvent(JobEvent.PART_DONE, place), NewEvent(JobEvent.ITEM_DONE, item)]
            plan, moved = self._moved(WRITE, "done", "")
            await self._append([*events, *moved], "answer written", plan=plan)
            self._is_writing, self._is_written = False, True

    @asynccontextmanager
    async def text_stream(self) -> AsyncGenerator["TextStream"]:
        """Sends the final text while it is written."""
        stream = TextStream(self)
        yield stream
        await stream.flush()

    async def send_delta(self, text: str) -> None:
        async with self._lock:
            opening = [] if self._is_writing else self._open_message()
            # Without the view: pieces of text are too many to mirror each into the job's thread.
            await self._write([*opening, *self._deltas(text)], None)

    def now(self) -> float:
        return self._clock.monotonic()

    @property
    def _place(self) -> dict[str, JsonValue]:
        """Where the message's text is."""
        index = self._items - 1
        return {"item_id": f"msg_{self._id}_{index}", "output_index": index, "content_index": 0}

    @property
    def _id(self) -> str:
        return self._claim.job_id.partition("_")[2]

    def _open_reasoning(self) -> list[NewEvent]:
        if self._items:
            return []
        self._items = 1
        return [NewEvent(JobEvent.ITEM_ADDED, self._reasoning())]

    def _open_message(self) -> list[NewEvent]:
        events = self._open_reasoning()
        if self._items == 1:
            events.append(NewEvent(JobEvent.ITEM_DONE, self._reasoning()))
        self._items += 1
        self._is_writing = True
        place = self._place
        item: dict[str, JsonValue] = {"item_id": place["item_id"], "output_index": place["output_index"], "item_type": "message"}
        return [*events, NewEvent(JobEvent.ITEM_ADDED, item), NewEvent(JobEvent.PART_ADDED, place)]

    def _reasoning(self) -> dict[str, JsonValue]:
        return {"item_id": f"rs_{self._id}", "output_index": 0, "item_type": "reasoning"}

    def _deltas(self, text: str) -> list[NewEvent]:
        pieces = [text[start : start + DELTA_CHARS] for start in range(0, len(text), DELTA_CHARS)]
        return [NewEvent(JobEvent.TEXT_DELTA, {"delta": piece, **self._place}) for piece in pieces]

    async def _move(self, step_id: str, state: StepState, note: str = "") -> None:
        async with self._lock:
            plan, events = self._moved(step_id, state, note)
            if events:
                title = next(step.title for step in plan if step.id == step_id)
                await self._append(events, f"{'started' if state == 'running' else state}: {title}", plan=plan)

    def _moved(self, step_id: str, state: StepState, note: str) -> tuple[list[PlanStep], list[NewEvent]]:
        """The plan after a step's move, and the event that tells it; none when the step is there already."""
        step = next((step for step in self.view.plan if step.id == step_id), None)
        if step is None or step.state == state or (state == "running" and step.state != "pending"):
            return self.view.plan, []
        plan = [each.model_copy(update={"state": state}) if each.id == step_id else each for each in self.view.plan]
        data: dict[str, JsonValue] = {"step_id": step_id, "title": step.title}
        if state == "running":
            return plan, [NewEvent(JobEvent.STEP_STARTED, data)]
        return plan, [NewEvent(JobEvent.STEP_COMPLETED, {**data, "note": note})]

    async def _append(self, events: list[NewEvent], text: str, **changes: object) -> None:
        opening = self._open_reasoning()
        warnings = [
            NewEvent(JobEvent.BUDGET_WARNING, {"meter": meter.name, "spent": meter.spent, "limit": meter.limit})
            for meter in self._ledger.new_warnings()
        ]
        events = [*opening, *events, *warnings]
        last = LastEvent(seq=self._last_seq + len(events), at=self._clock.now(), text=text[:200])
        view = self.view.model_copy(update={**changes, "last_event": last, "usage": self._ledger.spent})
        await self._write(events, view)
        self.view = view

    async def _write(self, events: Sequence[NewEvent], view: JobView | None) -> None:
        if events:
            appended = await self._work.append(self._claim.job_id, self._claim.epoch, events, view)
            self._last_seq = newest_seq(appended, self._claim.job_id, self._last_seq + len(events))
            await self._notifier.notify(appended)


class TextStream:
    """Gathers pieces of text and sends them a few times a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
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
        if text:
            await self._progress.send_delta(text)


def newest_seq(appended: Sequence[Appended], stream: str, default: int) -> int:
    """Newest sequence number of one log among those that grew."""
    return max((item.last_seq for item in appended if item.stream == StreamId(stream)), default=default)
