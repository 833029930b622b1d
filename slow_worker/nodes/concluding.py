"""The end of a task that was worked out with tools: its text or typed answer from what they found, the sources it cites, and honest checks.

Nothing that a stranger wrote becomes a live link to a strange host. The checks are weak (V0), but for a schema that holds and for a short answer that
stands in what was found.
"""

import json
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from slow_worker.caller import Ask
from slow_worker.context import JobContext
from slow_worker.fences import code_block
from slow_worker.nodes.writing import Manuscript, Writing, written
from slow_worker.plans import WRITE
from slow_worker.presentation import abstention, answer_line
from slow_worker.prompts import write_messages
from slow_worker.results import gathered, typed
from slow_worker.room import room_of
from slow_worker.sources import CitedText
from slow_worker.tool_prompts import Desk, final_messages, form_messages
from slow_worker.verifiers.contract import code_fault, json_fault, read_json
from slow_worker.verifiers.coverage import coverage_checks
from slow_worker.workspace import Act, Conclusion, Language, Task, Workspace
from tandem.answers import as_number, choice_of, first_number
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import Check, JobFailure, JobResult, Usage, Verification, VerificationLevel
from tandem.schemas.tools import Citation
from tools.authority import Authority
from tools.hygiene import without_strange_links

NO_ANSWER: Final = "no_answer"
_LEAST_REPLY: Final = 64
_NOTHING_FOUND: Final[dict[Language, str]] = {
    "en": "**The tools brought nothing ({failed}). What follows rests on no data of theirs.**\n\n",
    "zh": "**工具没有得到任何结果（{failed}）。以下内容不基于工具的数据。**\n\n",
}


async def conclude(state: Workspace, context: JobContext) -> tuple[JobResult, JobFailure | None]:
    """The result, and why it is incomplete. Raises ``BudgetStop``, ``BudgetReached`` and ``ModelError``."""
    conclusion = state.get("conclusion") or Conclusion(reason="turns")
    is_prose = state["task"].contract.kind == "text"
    result, failure = await (_told if is_prose else _typed)(state, conclusion, context)
    if not context.progress.is_done(WRITE) and result.verification is not None:
        for check in result.verification.checks:
            await context.progress.verified(check)
    await context.progress.text_done(result.output_text)
    return result, failure or conclusion.failure


async def _told(state: Workspace, conclusion: Conclusion, context: JobContext) -> tuple[JobResult, JobFailure | None]:
    """Prose: written from what was found; at low effort the model's own answer is taken as it is."""
    sources, authority = state.get("sources", []), state.get("authority", Authority())
    if conclusion.answer and (context.effort == "low" or not state.get("acts")):
        writing = _as_it_is(conclusion.answer, sources, authority)
    else:
        manuscript = Manuscript(
            task=state["task"],
            compose=lambda task: _prompt(state, task, context),
            opening=_opening(state),
            fallback=gathered(state.get("acts", []), authority),
            shape=lambda: CitedText(sources, authority),
        )
        writing = await written(manuscript, context)
    checks = [
        *coverage_checks(writing.text, [], is_cut=writing.failure is not None),
        *tool_checks(state.get("acts", []), conclusion),
        *_citation_checks(writing, sources),
    ]
    result = JobResult(
        output_text=writing.text,
        answer=writing.text,
        verification=Verification(level="V0", checks=checks),
        citations=[sources[number - 1] for number in writing.cited],
    )
    return result, writing.failure


def _as_it_is(answer: str, sources: Sequence[Citation], authority: Authority) -> Writing:
    shape = CitedText(sources, authority)
    text = shape.add(answer.strip()) + shape.rest()
    return Writing(text=text, failure=None, usage=Usage(), cited=shape.cited, invented=shape.invented)


def _opening(state: Workspace) -> str:
    """What a text that rests on nothing the tools found begins with."""
    acts = state.get("acts", [])
    if not acts or any(act.ok for act in acts):
        return ""
    failed = ", ".join(dict.fromkeys(f"{act.tool}: {act.code}" for act in acts))
    return _NOTHING_FOUND[state["task"].language].format(failed=failed)


def _prompt(state: Workspace, task: Task, context: JobContext) -> list[ChatMessage]:
    if not any(act.ok for act in state.get("acts", [])):
        return write_messages(task, "")
    return final_messages(_desk(state, task), _room(context))


def _desk(state: Workspace, task: Task) -> Desk:
    return Desk(task, [], state.get("acts", []), state.get("sources", []), state.get("mark", ""))


def _room(context: JobContext) -> int:
    """Longest prompt of the last call, which may use the reserve."""
    tokens = context.ledger.left().tokens + context.ledger.reserve.tokens
    return min(context.context_tokens, tokens) - min(context.policy.answer_tokens, context.context_tokens // 3) - context.caller.documents.tokens


async def _typed(state: Workspace, conclusion: Conclusion, context: JobContext) -> tuple[JobResult, JobFailure | None]:
    """An answer in the caller's form: the model's own if it has that form, else asked for once."""
    task, acts = state["task"], state.get("acts", [])
    winner = read_answer(conclusion.answer, task)
    if winner is None:
        winner = read_answer(await _asked(state, context), task)
    checks = [*tool_checks(acts, conclusion), *_form_checks(winner, task, acts)]
    behind = [act for act in acts if act.ok and winner is not None and stands_in(winner, act.text)]
    passed: list[VerificationLevel] = [check.level for check in checks if check.passed and check.level != "V0"]
    level: VerificationLevel = passed[0] if passed else "V0"
    used = list(dict.fromkeys(number for act in behind[-1:] for number in act.sources))
    text = _shown(task, winner, state.get("authority", Authority()))
    result = JobResult(
        output_text=text,
        answer=typed(task, winner),
        verification=Verification(level=level, checks=checks),
        citations=[state.get("sources", [])[number - 1] for number in used],
    )
    if winner is not None:
        return result, None
    return result, JobFailure(
        code=NO_ANSWER, message="the tools' answers gave none in the form asked for; raise the effort or the budget, or reword the task"
    )


async def _asked(state: Workspace, context: JobContext) -> str:
    task = state["task"]

    async def effect() -> JsonValue:
        before = context.ledger.spent.calls
        messages = form_messages(_desk(state, task), _room(context), _form(task))
        reply_tokens = min(context.policy.answer_tokens, max(_LEAST_REPLY, context.context_tokens // 3))
        schema = task.contract.json_schema if task.contract.kind == "json" else None
        ask = Ask(messages, reply_tokens, temperature=0.2, seed=room_of(context).seed(0, 1), json_schema=schema, is_last=True)
        reply, usage = await context.caller.complete(ask)
        return {"text": reply.text, "usage": usage.model_dump(mode="json"), "calls_before": before}

    recorded = await context.effects.once("conclusion", effect)
    assert isinstance(recorded.result, dict)  # noqa: S101 - the shape `effect` records
    if recorded.is_recalled and not context.is_charged(int(str(recorded.result["calls_before"]))):
        context.ledger.charge(Usage.model_validate(recorded.result["usage"]))
    return str(recorded.result["text"])


def _form(task: Task) -> str:
    contract = task.contract
    match contract.kind:
        case "number":
            return "只写数字。" if task.language == "zh" else "Reply with the number only."
        case "choice":
            options = " | ".join(contract.choices or [])
            return f"只写以下之一：{options}" if task.language == "zh" else f"Reply with exactly one of: {options}"
        case "code":
            return "只回复一个代码块。" if task.language == "zh" else "Reply with one code block."
        case "json" | "text":
            schema = json.dumps(contract.json_schema, ensure_ascii=False) if contract.json_schema else ""
            return f"只回复一个 JSON 值。{schema}" if task.language == "zh" else f"Reply with one JSON value. {schema}"


def read_answer(text: str, task: Task) -> str | None:
    """The canonical answer in the form of the task's contract; None when the text holds none."""
    if not text.strip():
        return None
    match task.contract.kind:
        case "number":
            return first_number(text)
        case "choice":
            return choice_of(text, task.contract.choices or [])
        case "code":
            block = code_block(text)
            return None if block is None or code_fault(block, text) else block
        case "json":
            value, fault = read_json(text)
            return None if fault or json_fault(value, task.contract.json_schema) else json.dumps(value, ensure_ascii=False)
        case "text":
            return text.strip()


def tool_checks(acts: Sequence[Act], conclusion: Conclusion) -> list[Check]:
    """Whether the tools worked, and whether the model had enough of them."""
    failed = [f"{act.tool} ({act.code})" for act in acts if not act.ok and act.repeats is None]
    detail = f"failed: {', '.join(dict.fromkeys(failed))}" if failed else f"{len(acts)} calls"
    reasons = {"budget": "the budget ended the turns", "turns": "the effort's turns were used up", "stuck": "the last turns brought nothing new"}
    return [
        Check(name="tools_worked", level="V0", passed=not failed, detail=detail[:300]),
        Check(name="had_enough", level="V0", passed=conclusion.reason == "answered", detail=reasons.get(conclusion.reason, "")),
    ]


def _citation_checks(writing: Writing, sources: Sequence[Citation]) -> list[Check]:
    if not sources:
        return []
    detail = f"{len(writing.cited)} of {len(sources)} sources" + (f", {writing.invented} numbers without a source" if writing.invented else "")
    return [Check(name="cites_what_it_read", level="V0", passed=bool(writing.cited) and not writing.invented, detail=detail)]


def _form_checks(winner: str | None, task: Task, acts: Sequence[Act]) -> list[Check]:
    if task.contract.kind in {"json", "code"}:
        is_held = winner is not None
        return [Check(name="holds_the_contract", level="V3" if task.contract.kind == "json" and is_held else "V0", passed=is_held)]
    is_found = winner is not None and any(act.ok and stands_in(winner, act.text) for act in acts)
    return [Check(name="stands_in_what_was_found", level="V1" if is_found else "V0", passed=is_found)]


def stands_in(answer: str, text: str) -> bool:
    """Whether a short answer stands in a text: a number as one of its numbers, anything else by its letters."""
    number = as_number(answer)
    if number is None:
        return answer.casefold() in text.casefold()
    words = text.replace(",", "").replace('"', " ").split()
    return any(as_number(word.strip("()[]{}:;.，。、|")) == number for word in words)


def _shown(task: Task, winner: str | None, authority: Authority) -> str:
    if winner is None:
        return abstention(task, [])
    match task.contract.kind:
        case "json":
            text = json.dumps(json.loads(winner), ensure_ascii=False, indent=2)
        case "code":
            text = f"```\n{winner}\n```"
        case _:
            text = answer_line(task.language, winner)
    return without_strange_links(text, authority.knows) if authority.is_tainted else text
