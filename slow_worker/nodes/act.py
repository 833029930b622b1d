"""Act: one turn of a task that needs tools. The model says one call or its answer; the call is made through the one door.

What it answered is put before the model at the next turn. A turn is recorded before anything else happens, and so is what its call answered, so a
resumed job repeats neither. The node decides nothing about authority: ``tool_calls.py`` does.
"""

from dataclasses import dataclass, replace
from typing import Final

from langgraph.runtime import Runtime
from pydantic import JsonValue

from slow_worker.auditing import ToolCall
from slow_worker.caller import Ask
from slow_worker.context import JobContext
from slow_worker.moves import Move, move_schema, read_move
from slow_worker.plans import ACT, is_worked_out
from slow_worker.results import best_so_far
from slow_worker.room import room_of
from slow_worker.sources import Sources
from slow_worker.standing import first_authority
from slow_worker.stops import BudgetStop
from slow_worker.tool_calls import as_text, call_tool
from slow_worker.tool_prompts import Desk, offered_specs, turn_messages
from slow_worker.workspace import Act, Conclusion, Task, Update, Workspace
from tandem.errors import BudgetReached
from tandem.schemas.base import JsonObject
from tandem.schemas.jobs import JobFailure, Usage
from tandem.schemas.tools import Citation, ToolResult
from tools.authority import Authority, trusting
from tools.redaction import digest

TEMPERATURE: Final = 0.2
_LOOSER: Final = 0.7
"""After a turn that brought nothing new: at the low one a small model says the very same thing again."""
_LONGEST_TEXT: Final = 6_000
"""Characters of an answer that the workspace keeps; a context of the smallest model holds less."""
_MOST_REPEATS: Final = 2
_MOST_FAILURES: Final = 4
"""Turns in a row that bring nothing, after which no more are made."""
_MOST_REJECTIONS: Final = 3
"""Rejected calls after which people are not asked again: whoever tires people out must not win."""
_MENDABLE: Final = frozenset({"unknown_column", "unknown_table", "syntax_error", "runtime_error", "invalid_arguments", "not_found"})
"""Faults of the call itself, whose words say what to write instead."""
_READS: Final = frozenset({"read_internal", "read_external"})
_TELLING_CHARS: Final = 200
"""Shorter answers may well be the same and mean something else: a count, an acknowledgement."""
_FINAL_FAULTS: Final = frozenset({"not_approved", "not_allowed", "invalid_arguments", "unknown_tool", "outcome_unknown", "no_budget", "too_deep"})
"""Faults that the very same call would meet again."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a turn begins with."""

    number: int
    task: Task
    acts: list[Act]
    sources: list[Citation]
    authority: Authority
    mark: str

    def update(self, **changes: object) -> Update:
        update: Update = {"task": self.task, "authority": self.authority, "mark": self.mark}
        return {**update, **changes}  # type: ignore[typeddict-item]


async def act(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Make one turn, or end the turns. Raises ``BudgetStop``, and ``ModelError`` when the server failed for good."""
    context = runtime.context
    turn = await _opened(state, context)
    await context.progress.step_started(ACT)
    if (over := _is_over(turn, context)) is not None:
        return await _concluded(turn, over, context)
    try:
        move = await _moved(turn, state, context)
        if move.tool is None:
            reason = "answered" if move.answer else "stuck"
            return await _concluded(turn, Conclusion(reason=reason, answer=move.answer), context)
        return await _carried_out(turn, move.tool, move.arguments or {}, context)
    except BudgetReached as error:
        failure = JobFailure(code=error.code, message=error.message)
        if context.waits_for_budget:
            raise BudgetStop(failure, best_so_far({**state}, context.policy)) from None
        is_callers = _is_callers(error, context)
        return await _concluded(turn, Conclusion(reason="budget", failure=failure if is_callers else None), context)


async def _opened(state: Workspace, context: JobContext) -> _Turn:
    acts = state.get("acts", [])
    number = len(acts) + 1
    steers = await context.progress.take_steers(f"act {number}")
    task = state["task"].model_copy(update={"steers": steers})
    authority = state.get("authority") or first_authority(task, context.request, context.inherited)
    return _Turn(number, task, acts, state.get("sources", []), trusting(authority, steers), state.get("mark") or context.nonce)


def _is_over(turn: _Turn, context: JobContext) -> Conclusion | None:
    """Whether another turn is not worth making, or not affordable within the effort."""
    newest = turn.acts[-_MOST_FAILURES:]
    if len(newest) == _MOST_FAILURES and not any(each.ok for each in newest):
        return Conclusion(reason="stuck")
    if len(turn.acts) >= _MOST_REPEATS and all(each.repeats is not None for each in turn.acts[-_MOST_REPEATS:]):
        return Conclusion(reason="stuck")
    is_callers = context.request.budget.max_calls is not None
    if context.ledger.calls_left() < 1 and not is_callers:
        return Conclusion(reason="turns")
    return None


async def _moved(turn: _Turn, state: Workspace, context: JobContext) -> Move:
    """The model's turn; one that cannot be read is asked for once more, and then taken for the answer if it is prose."""
    plan = [step.title for step in state["plan"] if is_worked_out(step)]
    specs = offered_specs([tool.spec for tool in context.tools.values()], context.request.tools)
    desk = Desk(turn.task, specs, turn.acts, turn.sources, turn.mark, plan)
    text = await _asked(desk, f"act:{turn.number}", context, turn.number)
    move, fault = read_move(text)
    if move is None:
        text = await _asked(desk, f"act:{turn.number}:repair", context, turn.number, fault)
        move, _ = read_move(text)
    if move is not None and move.tool is None and _gives_up_early(turn):
        text = await _asked(desk, f"act:{turn.number}:again", context, turn.number, turn.acts[-1].text, may_answer=False)
        again, _ = read_move(text)
        move = again or move
    if move is not None:
        return move
    return Move(answer="" if "{" in text else text.strip())


def _gives_up_early(turn: _Turn) -> bool:
    """Whether nothing was found yet and the newest call can be mended: a small model explains its mistake instead of mending it."""
    return 0 < len(turn.acts) < _MOST_FAILURES - 1 and all(not act.ok and act.code in _MENDABLE for act in turn.acts)


async def _asked(desk: Desk, key: str, context: JobContext, number: int, fault: str = "", *, may_answer: bool = True) -> str:
    """The reply of one model call, made or recalled."""
    reply_tokens = context.policy.attempt_tokens

    async def effect() -> JsonValue:
        before = context.ledger.spent.calls
        room = min(context.context_tokens, context.ledger.left().tokens) - reply_tokens - context.caller.documents.tokens
        messages = turn_messages(desk, room, is_last=False, fault=fault)
        seed = room_of(context).seed(number, 1 if fault else 0)
        is_stuck = bool(desk.acts) and desk.acts[-1].repeats is not None
        temperature = _LOOSER if is_stuck else TEMPERATURE
        ask = Ask(messages, reply_tokens, temperature=temperature, seed=seed, json_schema=move_schema(desk.specs, may_answer=may_answer))
        reply, usage = await context.caller.complete(ask)
        return {"text": reply.text, "usage": usage.model_dump(mode="json"), "calls_before": before}

    recorded = await context.effects.once(key, effect)
    assert isinstance(recorded.result, dict)  # noqa: S101 - the shape `effect` records
    if recorded.is_recalled and not context.is_charged(int(str(recorded.result["calls_before"]))):
        context.ledger.charge(Usage.model_validate(recorded.result["usage"]))
    return str(recorded.result["text"])


async def _carried_out(turn: _Turn, tool: str, arguments: JsonObject, context: JobContext) -> Update:
    earlier = _same_call(turn, tool, arguments)
    if earlier is not None:
        repeated = earlier.model_copy(update={"number": turn.number, "repeats": earlier.number})
        return turn.update(acts=[*turn.acts, repeated])
    if sum(each.code == "not_approved" for each in turn.acts) >= _MOST_REJECTIONS:
        context = replace(context, rules=replace(context.rules, approvals="refuse"))
    called = await call_tool(context, ToolCall(f"act:{turn.number}", tool, arguments), turn.authority)
    sources = Sources(turn.sources)
    numbers = sources.add(called.result.citations) if called.result.ok else []
    spec = context.tools[tool].spec if tool in context.tools else None
    text = _text(called.result)[:_LONGEST_TEXT]
    made = Act(
        number=turn.number,
        tool=tool[:64],
        arguments=arguments,
        ok=called.result.ok,
        code=called.result.error.code if called.result.error else "",
        text=text,
        sources=numbers,
        is_program=spec is not None and spec.side_effect == "exec",
        files=called.result.artifacts,
        repeats=_same_answer(turn, tool, text) if called.result.ok and spec is not None and spec.side_effect in _READS else None,
    )
    return turn.update(acts=[*turn.acts, made], sources=sources.all, authority=called.authority)


def _same_call(turn: _Turn, tool: str, arguments: JsonObject) -> Act | None:
    """An earlier turn that made this very call and whose outcome would be the same."""
    wanted = digest(arguments)
    for earlier in turn.acts:
        if earlier.repeats is None and earlier.tool == tool and (earlier.ok or earlier.code in _FINAL_FAULTS) and digest(earlier.arguments) == wanted:
            return earlier
    return None


def _same_answer(turn: _Turn, tool: str, text: str) -> int | None:
    """The earlier turn that read the very same words by another call: small models ask a page once for each thing that they want of it."""
    if len(text) < _TELLING_CHARS:
        return None
    return next(
        (earlier.number for earlier in turn.acts if earlier.ok and earlier.repeats is None and (earlier.tool, earlier.text) == (tool, text)), None
    )


def _text(result: ToolResult) -> str:
    if not result.ok:
        message = result.error.message if result.error else "the call failed"
        return f"{message}\n{result.stdout}".strip()
    parts = [as_text(result) or "(nothing)"]
    if result.is_truncated:
        parts.append("(cut: ask for less, or for a part)")
    if result.artifacts:
        parts.append(f"(files kept with the job: {', '.join(result.artifacts)})")
    return "\n".join(parts)


def _is_callers(error: BudgetReached, context: JobContext) -> bool:
    """Whether the caller's own limit, and not the effort's default, ended the turns."""
    meter = (error.param or "").removeprefix("budget.")
    return getattr(context.request.budget, meter, None) is not None if meter else False


async def _concluded(turn: _Turn, conclusion: Conclusion, context: JobContext) -> Update:
    await context.progress.step_completed(ACT, f"{len(turn.acts)} calls, {conclusion.reason}")
    return turn.update(conclusion=conclusion)
