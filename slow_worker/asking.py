"""Questions to people: a node asks, the job waits without a worker, and the node runs again from its top with the answer.

``ask`` comes before every effect of its node. Several nodes of a wave may ask at once, each under a key of its own.
"""

from collections.abc import Sequence
from typing import Any, cast

from langgraph.types import Interrupt, interrupt
from pydantic import JsonValue

from tandem.errors import InternalError
from tandem.schemas.inputs import InputAnswer, InputAsk, InputRequest


def ask(question: InputAsk) -> InputAnswer:
    """The answer; where there is none yet the job stops here and waits for it."""
    return InputAnswer.model_validate(interrupt(question))


def asks_of(interrupts: Sequence[Interrupt]) -> list[InputAsk]:
    """The questions behind the graph's interrupts. Raises ``InternalError`` for an interrupt that is none."""
    return [_question(each) for each in interrupts]


def answers_of(interrupts: Sequence[Interrupt], inputs: Sequence[InputRequest]) -> dict[str, JsonValue]:
    """What to resume each interrupt with; those that nobody answered are left out."""
    by_key = {each.key: each for each in inputs if each.status in {"answered", "expired"}}
    return {each.id: _answer(by_key[key]) for each in interrupts if (key := _question(each).key) in by_key}


def _question(each: Interrupt) -> InputAsk:
    value: Any = each.value
    if isinstance(value, InputAsk):
        return value
    raise InternalError(f"a node interrupted with {type(value).__name__}; it must ask an InputAsk (slow_worker.asking.ask)")


def _answer(given: InputRequest) -> JsonValue:
    """An expired question was answered by its default."""
    value = given.value if given.status == "answered" or given.value is not None else given.default
    decision = given.decision
    if given.kind == "approval" and decision is None:
        decision = cast("Any", value) if value in ("approve", "reject") else "edit"
    answer: JsonValue = InputAnswer(decision=decision, value=value).model_dump(mode="json")
    return answer
