"""Approvals: a person decides on one call, with exactly these arguments, once; and on a call of which nobody knows whether it happened.

Covered: an approval is asked under a key of tool, call and digest of the arguments, so it fits no other call and no other arguments; the call it
allows is made at most once (``tool_calls.py``); silence is a rejection; a second answer finds the question closed; who answered is written down.
Not covered: an approver who does not read; an argument longer than what is shown (its length is shown, and its digest stands for the whole).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from slow_worker.asking import Answer, ask
from slow_worker.auditing import ToolCall
from slow_worker.context import JobContext
from slow_worker.prompts import approval_prompt, outcome_prompt
from tandem.schemas.inputs import InputAsk
from tandem.schemas.tools import ToolResult
from tools.base import refused
from tools.redaction import redacted

HAPPENED: Final = "it happened"
AGAIN: Final = "do it again"
GIVE_UP: Final = "give up"
_LONGEST_SHOWN: Final = 4_000
"""Characters of one argument that an approver sees."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word on a call."""

    is_given: bool
    id: str
    """The input request behind it."""
    refusal: ToolResult | None = None
    """What the model is told where it was not given."""


async def approve(context: JobContext, call: ToolCall, rule: str, why: str) -> Approval:
    """Wait for a person's word. Comes before every effect of the call."""
    key = f"approval:{call.id}:{call.tool}:{call.digest[:24]}"
    question = InputAsk(
        key=key,
        kind="approval",
        prompt=approval_prompt(context.language, call.tool, why),
        proposal=_proposal(call),
        default="reject",
    )
    await write_once(context, f"{key}:asked", lambda: context.auditor.asked(call, rule))
    given = ask(question, context.approval_ttl_s)
    # Only the word itself counts: what an edit would have changed has not been judged.
    decision: Literal["approved", "rejected", "expired"] = (
        "expired" if given.is_expired else "approved" if given.decision == "approve" else "rejected"
    )
    await write_once(context, f"{key}:answered", lambda: context.auditor.answered(call, rule, decision, given.input_id, given.answered_by))
    if decision == "approved":
        return Approval(is_given=True, id=given.input_id)
    why_not = "nobody approved it in time" if given.is_expired else "it was rejected"
    refusal = refused(f"{call.tool} was not called: {why_not}; do not try it again, go on without it and say so in the answer", "not_approved")
    return Approval(is_given=False, id=given.input_id, refusal=refusal)


def review(context: JobContext, call: ToolCall, number: int) -> Answer:
    """Ask what became of a call whose outcome is unknown. ``number`` counts how often it was begun."""
    question = InputAsk(
        key=f"outcome:{call.id}:{call.tool}:{number}",
        kind="choice",
        prompt=outcome_prompt(context.language, call.tool),
        choices=[HAPPENED, AGAIN, GIVE_UP],
        proposal=_proposal(call),
        default=GIVE_UP,
    )
    return ask(question, context.approval_ttl_s)


def _proposal(call: ToolCall) -> JsonValue:
    return {"tool": call.tool, "arguments": redacted(call.arguments, _LONGEST_SHOWN), "arguments_digest": call.digest}


async def write_once(context: JobContext, key: str, write: Callable[[], Awaitable[None]]) -> None:
    """Write a line of the audit log once, although its node runs again when the answer is there."""

    async def effect() -> JsonValue:
        await write()
        return True

    await context.effects.once(key, effect)
