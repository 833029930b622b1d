"""Writing the final text, streamed while it is written and recorded once. Knows neither notes nor tools: its caller composes the prompt."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pydantic import Field, JsonValue

from slow_worker.caller import Ask
from slow_worker.context import JobContext
from slow_worker.plans import WRITE
from slow_worker.progress import TextStream
from slow_worker.room import room_of
from slow_worker.sources import CitedText, Plain, Shape
from slow_worker.stops import BudgetStop
from slow_worker.workspace import Task
from tandem.errors import BudgetReached, ModelError, TandemError
from tandem.schemas.base import Wire
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import JobFailure, JobResult, Usage, Verification


class Writing(Wire):
    """What the effects ledger keeps of the writing; one with a ``failure`` is left out of a retry."""

    text: str
    failure: JobFailure | None
    usage: Usage
    cited: list[int] = Field(default_factory=list[int])
    """Numbers of the sources in the order of their first use."""
    invented: int = 0


@dataclass(frozen=True, slots=True)
class Manuscript:
    """What is to be written."""

    task: Task
    compose: Callable[[Task], Sequence[ChatMessage]]
    """The prompt, once the newest words of people are in the task."""
    opening: str = ""
    """Stands before what the model writes."""
    fallback: str = ""
    """What stands in for the text where nothing could be written."""
    shape: Callable[[], Shape] = Plain


async def written(manuscript: Manuscript, context: JobContext) -> Writing:
    """The text, written or recalled, and what kept it from being whole.

    Raises:
        BudgetStop: A meter ran out, and the caller wants to be asked.
        BudgetReached: Nothing could be written, and there is no fallback.
        ModelError: The same, for a server that failed.
    """
    try:
        recorded = await context.effects.once("synthesis", lambda: _stream(manuscript, context))
    except (BudgetReached, ModelError) as error:
        _stop_for_budget(error, manuscript.fallback, context)
        if not manuscript.fallback:
            raise
        return Writing(text=manuscript.fallback, failure=_failure(error), usage=Usage())
    writing = Writing.model_validate(recorded.result)
    if recorded.is_recalled and not context.progress.is_done(WRITE):
        context.ledger.charge(writing.usage)
    return writing


async def _stream(manuscript: Manuscript, context: JobContext) -> JsonValue:
    task = manuscript.task.model_copy(update={"steers": await context.progress.take_steers("write")})
    messages = list(manuscript.compose(task))
    ask = Ask(messages, context.policy.answer_tokens, temperature=0.3, seed=room_of(context).seed(0, 1), is_last=True)
    shape = manuscript.shape()
    shown: list[str] = []
    async with context.progress.text_stream() as live:
        show = _shower(shown, live, manuscript.opening)
        result = await context.caller.write(ask, lambda piece: show(shape.add(piece)))
        await show(shape.rest())
    text = "".join(shown)
    if result.fault is not None:
        _stop_for_budget(result.fault, text, context)
    failure = _failure(result.fault) if result.fault else None
    writing = Writing(text=text, failure=failure, usage=result.usage)
    if isinstance(shape, CitedText):
        writing = writing.model_copy(update={"cited": shape.cited, "invented": shape.invented})
    recorded: JsonValue = writing.model_dump(mode="json")
    return recorded


def _shower(shown: list[str], live: TextStream, opening: str) -> Callable[[str], Awaitable[None]]:
    async def show(piece: str) -> None:
        if piece:
            text = piece if shown else opening + piece
            shown.append(text)
            await live.add(text)

    return show


def _stop_for_budget(error: TandemError, text: str, context: JobContext) -> None:
    """Where the caller wants to be asked, a meter that ran out stops the job before the cut text is recorded. Raises ``BudgetStop``."""
    if context.waits_for_budget and isinstance(error, BudgetReached) and error.param is not None:
        best = JobResult(output_text=text, answer=text or None, verification=Verification(level="V0"), effort_used=context.effort)
        raise BudgetStop(_failure(error), best)


def _failure(error: TandemError) -> JobFailure:
    return JobFailure(code=error.code, message=error.message)
