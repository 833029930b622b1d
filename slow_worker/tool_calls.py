"""The one door from the engine to every tool: grant, arguments, authority, approval, budget, ledger, audit, and what the answer changes.

Covered: a name outside of the frozen grant is never dispatched; arguments are checked before anybody is asked; a call that needs approval is made
only with it, with exactly the approved arguments; a call that writes is announced before it is made and is never made twice, and where a worker died
or the time ran out in its middle a person is asked what became of it; a call that reads may be made again when its worker died before the answer was
recorded; a recalled call costs nothing and is not shown again; a tool that breaks is an error for the model, with its traceback in the log; answers
come out without invisible characters, and the job's authority follows them.
Not covered: what a tool does inside of its own limits (its wrappers bound time and size, the way out judges addresses).
"""

import difflib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from pydantic import JsonValue

from slow_worker.approvals import AGAIN, HAPPENED, approve, review, write_once
from slow_worker.auditing import ToolCall
from slow_worker.children import effective_spec, run_subtask
from slow_worker.context import JobContext
from slow_worker.people import answers_in, ask_person
from tandem.egress import watched
from tandem.errors import CallerError, OutcomeUnknown, TandemError, ToolError
from tandem.ports import Tool
from tandem.schemas.tools import Citation, ToolResult, ToolSpec
from tandem.telemetry import get_logger
from tools.authority import Authority, after, judge, trusting
from tools.base import INVALID_ARGUMENTS, argument_fault, refused
from tools.hygiene import cleaned, cleaned_json
from tools.people import ASK_USER
from tools.subtask import SUBTASK

_SUMMARY_CHARS: Final = 200
_OPEN: Final = frozenset({"connection_failed", "mcp_connection_lost"})
"""Codes of faults after which a write may or may not have taken effect, unless the tool says that it may be tried again."""


@dataclass(frozen=True, slots=True)
class Called:
    """What a call gave, and what the job may do from now on."""

    result: ToolResult
    authority: Authority


@dataclass(frozen=True, slots=True)
class _Permit:
    """Leave to make a call."""

    rule: str
    approval_id: str | None = None


async def call_tool(context: JobContext, call: ToolCall, authority: Authority) -> Called:
    """One call. What the model can mend comes back as a failed result.

    Raises:
        BudgetReached: No tool call is left.
        LeaseLost: The job has another owner.
    """
    tool = context.tools.get(call.tool)
    if tool is None:
        return Called(await _not_granted(context, call), authority)
    if (fault := argument_fault(tool.spec, call.arguments)) is not None:
        return Called(refused(fault, INVALID_ARGUMENTS), authority)
    spec = effective_spec(context, call, tool.spec)
    result = await _recalled(context, call, spec) or await _made(context, call, tool, spec, authority)
    authority = after(spec, call.arguments, result, authority)
    if call.tool == ASK_USER:
        authority = trusting(authority, answers_in(result))
    return Called(result, authority)


async def _made(context: JobContext, call: ToolCall, tool: Tool, spec: ToolSpec, authority: Authority) -> ToolResult:
    judged = judge(spec, call.arguments, authority, context.rules)
    if judged.verdict == "refuse":
        await context.auditor.refused(call, judged.rule)
        return refused(judged.message, "not_allowed")
    permit = _Permit(judged.rule)
    if judged.verdict == "ask":
        approval = await approve(context, call, judged.rule, judged.message)
        if approval.refusal is not None:
            return approval.refusal
        permit = _Permit(judged.rule, approval.id)
    if call.tool == ASK_USER:
        # Asked before the call is counted: the node runs again with the answer.
        result = ask_person(context, call, authority)
        return await _recorded(context, call, spec, permit, lambda: _known(result))
    if call.tool == SUBTASK:
        return await _recorded(context, call, spec, permit, lambda: run_subtask(context, call, authority))
    return await _recorded(context, call, spec, permit, lambda: _run(context, call, tool, authority))


async def _recorded(context: JobContext, call: ToolCall, spec: ToolSpec, permit: _Permit, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
    """Make the call within budget and ledger, in the sight of whoever watches."""

    async def effect() -> JsonValue:
        await context.progress.tool_started(call.tool, call.id, call.shown, call.digest)
        with watched() as watch:
            result = clean(await run())
        await context.auditor.called(call, result, permit.rule, watch.reached, permit.approval_id)
        await context.progress.tool_completed(call.tool, call.id, ok=result.ok, summary=_summary(result))
        recorded: JsonValue = result.model_dump(mode="json")
        return recorded

    if spec.side_effect == "write":
        return await _written(context, call, spec, permit, effect)
    context.ledger.take_tool_call(spec.cost_usd)
    return ToolResult.model_validate((await context.effects.once(_key(call, spec), effect)).result)


async def _written(context: JobContext, call: ToolCall, spec: ToolSpec, permit: _Permit, effect: Callable[[], Awaitable[JsonValue]]) -> ToolResult:
    """A write, made at most once for each time that a person says so."""
    for number in count():
        key = _again(_key(call, spec), number)
        if not await context.effects.is_begun(key):
            # A call that is only asked about was counted when it was begun.
            context.ledger.take_tool_call(spec.cost_usd)
        try:
            return ToolResult.model_validate((await context.effects.act(key, effect)).result)
        except OutcomeUnknown:
            await write_once(context, f"{key}:unknown", lambda: context.auditor.unfinished(call, permit.rule, permit.approval_id))
            said = review(context, call, number).value
        if said == HAPPENED:
            result = ToolResult(ok=True, output="a person looked: the call took effect; what it answered is not known")
        elif said == AGAIN:
            continue
        else:
            result = refused(f"nobody knows whether {call.tool} took effect, and it is not tried again; say so in the answer", "outcome_unknown")
        recorded: JsonValue = result.model_dump(mode="json")
        return ToolResult.model_validate(await context.effects.settle(key, recorded))
    raise AssertionError("unreachable")


async def _recalled(context: JobContext, call: ToolCall, spec: ToolSpec) -> ToolResult | None:
    """What an earlier run recorded; of a write that was begun several times, the newest."""
    for number in count():
        known = await context.effects.recall(_again(_key(call, spec), number))
        if known is not None:
            return ToolResult.model_validate(known.result)
        if spec.side_effect != "write" or not await context.effects.is_begun(_again(_key(call, spec), number + 1)):
            return None
    return None


async def _not_granted(context: JobContext, call: ToolCall) -> ToolResult:
    await context.auditor.refused(call, "grant")
    near = difflib.get_close_matches(call.tool, context.tools, n=3)
    names = ", ".join(sorted(context.tools)) or "none"
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return refused(f"this job has no tool {call.tool[:64]!r}; {hint}it has: {names}", "unknown_tool")


async def _run(context: JobContext, call: ToolCall, tool: Tool, authority: Authority) -> ToolResult:
    """The tool itself. A defect of a tool is the model's to work around; of a call that writes it leaves the outcome open."""
    is_write = tool.spec.side_effect == "write"
    try:
        result = await tool.run(call.arguments, replace(context.tool_context, call_id=call.id, tainted_by=authority.tainted_by))
    except (ToolError, CallerError) as error:
        result = refused(error.message, error.code, retryable=error.retryable)
    except TandemError:
        raise
    except Exception as error:
        get_logger(__name__).exception("tool_defect", tool=call.tool, call_id=call.id)
        if is_write:
            raise OutcomeUnknown(f"{call.tool!r} broke off with {type(error).__name__}; whether it took effect is unknown") from error
        result = refused(f"{call.tool} broke ({type(error).__name__}), which is a defect of the tool; use another way", "tool_defect")
    if is_write and _is_open(result):
        raise OutcomeUnknown(f"{call.tool!r} broke off without an answer; whether it took effect is unknown")
    return result


def _is_open(result: ToolResult) -> bool:
    """Whether nobody knows what a call that writes did. Who runs out of time cannot know, whatever it says of trying again."""
    fault = result.error
    return fault is not None and (fault.code == "timeout" or (fault.code in _OPEN and not fault.retryable))


async def _known(result: ToolResult) -> ToolResult:
    return result


def clean(result: ToolResult) -> ToolResult:
    """The result without what nobody sees, in every text a model or a page could show."""
    changes: dict[str, object] = {
        "output": cleaned_json(result.output),
        "stdout": cleaned(result.stdout),
        "citations": [Citation.model_validate(cleaned_json(each.model_dump(mode="json"))) for each in result.citations],
    }
    if result.error is not None:
        changes["error"] = result.error.model_copy(update={"message": cleaned(result.error.message)})
    return result.model_copy(update=changes)


def _summary(result: ToolResult) -> str:
    if not result.ok:
        return result.error.message[:_SUMMARY_CHARS] if result.error else ""
    return as_text(result)[:_SUMMARY_CHARS]


def as_text(result: ToolResult) -> str:
    """A good result as a model reads it."""
    parts = [result.stdout.strip(), _readable(result.output)]
    return "\n".join(dict.fromkeys(part for part in parts if part))


def _readable(value: JsonValue) -> str:
    """A value for a model: the texts of an object unquoted, for long ones in JSON are hard to read and take more tokens."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return "\n".join(
            f"{name}: {_readable(item) if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}" for name, item in value.items()
        )
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _key(call: ToolCall, spec: ToolSpec) -> str:
    # A model that is asked again may want another call: a read is told apart by its arguments, a write never happens twice under any.
    return f"tool:{call.id}:{call.tool}" if spec.side_effect == "write" else f"tool:{call.id}:{call.tool}:{call.digest[:16]}"


def _again(key: str, number: int) -> str:
    return f"{key}:again:{number}" if number else key
