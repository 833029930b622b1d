"""From attempts and notes to a ``JobResult``: the finished one, and the best so far of a job that has to stop. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from pydantic import JsonValue

from slow_worker.effort import EffortPolicy
from slow_worker.judging import judge
from slow_worker.plans import is_worked_out
from slow_worker.presentation import abstention, present_form, present_votes
from slow_worker.workspace import Act, Task, Try, Verdict, Workspace
from tandem.answers import as_number
from tandem.schemas.jobs import JobResult, PlanStep, Verification
from tools.authority import Authority
from tools.hygiene import without_strange_links

_LONGEST_FOUND: Final = 1_500
"""Characters of one answer of a tool in a result that had to stop."""


def voted_result(task: Task, tries: Sequence[Try], verdict: Verdict) -> JobResult:
    """The winner with the reasoning behind it, or an honest abstention."""
    behind = supporters(tries, verdict)
    if verdict.winner is None:
        text = abstention(task, tries)
    else:
        text = present_form(task, behind[0]) if task.kind in {"json", "code"} else present_votes(task, verdict.winner, behind)
    verification = Verification(level=verdict.level, checks=verdict.checks)
    return JobResult(output_text=text, answer=typed(task, verdict.winner), confidence=verdict.confidence, verification=verification)


def supporters(tries: Sequence[Try], verdict: Verdict) -> list[Try]:
    """The attempts behind the winner."""
    return [attempt for attempt in tries if attempt.id in verdict.supporters]


def notes_of(plan: Sequence[PlanStep], tries: Sequence[Try]) -> str:
    """The notes on the plan's own steps, each under its title."""
    by_step = {attempt.step_id: attempt.text for attempt in tries if attempt.error is None}
    return "\n\n".join(f"## {step.title}\n{by_step[step.id]}" for step in plan if is_worked_out(step) and step.id in by_step)


def best_so_far(values: Mapping[str, object], policy: EffortPolicy) -> JobResult:
    """What a workspace that is not finished is good for; an empty result where it holds nothing yet."""
    state = cast("Workspace", values)
    if "result" in state:
        return state["result"]
    if "task" in state and state.get("acts"):
        text = gathered(state["acts"], state.get("authority", Authority()))
        return JobResult(output_text=text, answer=text or None, verification=Verification(level="V0"))
    if "task" not in state or not state.get("tries"):
        return JobResult()
    task, tries = state["task"], state["tries"]
    if task.kind == "open":
        notes = notes_of(state.get("plan", []), tries)
        return JobResult(output_text=notes, answer=notes or None, verification=Verification(level="V0"))
    return voted_result(task, tries, judge(task, tries, [], policy))


def gathered(acts: Sequence[Act], authority: Authority) -> str:
    """What tools found so far, as a text that may be shown."""
    found = [f"**{act.tool}**\n\n{act.text[:_LONGEST_FOUND]}" for act in acts if act.ok and act.repeats is None]
    text = "\n\n".join(found)
    return without_strange_links(text, authority.knows) if authority.is_tainted else text


def typed(task: Task, winner: str | None) -> JsonValue:
    """The answer in the type its contract asks for."""
    if winner is None:
        return None
    match task.contract.kind:
        case "number":
            return as_number(winner)
        case "json":
            value: JsonValue = json.loads(winner)
            return value
        case "text" | "choice" | "code":
            return winner
