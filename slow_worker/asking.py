"""Questions to people: a node asks, the job waits without a worker, and the node runs again from its top with the answer.

A node that asks must do the same again up to its question: what it did before is recalled from the ledger. Several nodes of a wave may ask at once,
and one node several times, each under a key of its own; an answer is only ever taken for the key it was given under.
"""

from collections.abc import Sequence
from typing import Any, cast

from langgraph.types import Interrupt, interrupt
from pydantic import JsonValue

from slow_worker.workspace import Question
from tandem.errors import InternalError
from tandem.schemas.inputs import InputAnswer, InputAsk, InputRequest


class Answer(InputAnswer):
    """What came back for a question."""

    key: str
    input_id: str
    is_expired: bool = False
    """Nobody answered in time: this is the default."""
    answered_by: str | None = None
    """Id of the API key that answered."""


def ask(question: InputAsk, wait_s: float | None = None) -> Answer:
    """The answer; where there is none yet the job stops here and waits for it, at most ``wait_s`` seconds (null: ``worker.input_ttl_s``)."""
    while True:
        # LangGraph hands out the answers of a node by their order. A worker that died may have left one twice, so the key decides.
        answer = Answer.model_validate(interrupt(Question(ask=question, wait_s=wait_s)))
        if answer.key == question.key:
            return answer


def asks_of(interrupts: Sequence[Interrupt]) -> list[InputAsk]:
    """The questions behind the graph's interrupts. Raises ``InternalError`` for an interrupt that is none."""
    return [_question(each).ask for each in interrupts]


def wait_of(interrupts: Sequence[Interrupt], default_s: float) -> float:
    """Seconds until the first of the questions is over."""
    return min((each.wait_s or default_s for each in map(_question, interrupts)), default=default_s)


def answers_of(interrupts: Sequence[Interrupt], inputs: Sequence[InputRequest]) -> dict[str, JsonValue]:
    """What to resume each interrupt with; those that nobody answered are left out."""
    by_key = {each.key: each for each in inputs if each.status in {"answered", "expired"}}
    return {each.id: _answer(by_key[key]) for each in interrupts if (key := _question(each).ask.key) in by_key}


def _question(each: Interrupt) -> Question:
    value: Any = each.value
    if isinstance(value, Question):
        return value
    if isinstance(value, InputAsk):  # of a job that has waited since an earlier version
        return Question(ask=value)
    raise InternalError(f"a node interrupted with {type(value).__name__}; it must ask an InputAsk (slow_worker.asking.ask)")


def _answer(given: InputRequest) -> JsonValue:
    """An expired question was answered by its default."""
    value = given.value if given.status == "answered" or given.value is not None else given.default
    decision = given.decision
    if given.kind == "approval" and decision is None:
        decision = cast("Any", value) if value in ("approve", "reject") else "edit"
    answer = Answer(
        decision=decision,
        value=value,
        key=given.key,
        input_id=given.id,
        is_expired=given.status == "expired",
        answered_by=given.answered_by,
    )
    plain: JsonValue = answer.model_dump(mode="json")
    return plain
