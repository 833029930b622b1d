"""Plans: the fixed course of tasks whose answers can be checked, and the reading of a plan that a model wrote.

A small model's plan is taken for what it is: lines, numbered or not. What cannot be read falls back to a plan that fits any open task.
"""

import re
from collections.abc import Sequence
from typing import Final

from slow_worker.workspace import Language, TaskKind
from tandem.schemas.jobs import PlanStep

REASON: Final = "reason"
PROGRAM: Final = "program"
COMPARE: Final = "compare"
DRAFT: Final = "draft"
CHECK: Final = "check"
WRITE: Final = "write"
ACT: Final = "act"

_TITLES: Final[dict[Language, dict[str, str]]] = {
    "en": {
        REASON: "Solve it step by step",
        PROGRAM: "Solve it with a program",
        COMPARE: "Compare the answers",
        DRAFT: "Draft the answer in the required form",
        CHECK: "Check the form",
        WRITE: "Write the answer",
        ACT: "Work with the tools",
    },
    "zh": {
        REASON: "逐步推理求解",
        PROGRAM: "用程序求解",
        COMPARE: "比较答案",
        DRAFT: "按要求的格式起草",
        CHECK: "检查格式",
        WRITE: "写出答案",
        ACT: "使用工具",
    },
}
_COURSES: Final[dict[TaskKind, tuple[str, ...]]] = {
    "math": (REASON, PROGRAM, COMPARE, WRITE),
    "choice": (REASON, COMPARE, WRITE),
    "code": (DRAFT, CHECK, WRITE),
    "json": (DRAFT, CHECK, WRITE),
    "open": (WRITE,),
}
_FALLBACK: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("Goal and requirements", "Main points", "Details and examples", "Conclusion"),
    "zh": ("目标和要求", "主要内容", "细节和例子", "总结"),
}
_ITEM: Final = re.compile(
    r"^\s*(?:[-*•]|\(?\d{1,2}[.)、:：]|第[一二三四五六七八九十]步[:：]?|step\s+\d+[:.]?|[一二三四五六七八九十]、)\s*(.+)$", re.IGNORECASE
)
_LONGEST_TITLE: Final = 80
_FENCED: Final = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def fixed_plan(kind: TaskKind, language: Language, *, has_python: bool) -> list[PlanStep]:
    """The course of a task that needs no plan of its own."""
    ids = [step for step in _COURSES[kind] if has_python or step != PROGRAM]
    return [PlanStep(id=step, title=_TITLES[language][step]) for step in ids]


def tool_plan(language: Language) -> list[PlanStep]:
    """The course of a task that is worked out by turns with tools."""
    return [PlanStep(id=step, title=_TITLES[language][step]) for step in (ACT, WRITE)]


def read_plan(text: str, language: Language, most: int) -> list[PlanStep]:
    """Steps from a model's reply, at most ``most``, followed by the writing of the answer. Titles are short, distinct and never empty."""
    titles = _listed(_FENCED.sub("", text))
    if len(titles) < 2:
        titles = list(_FALLBACK[language])
    steps = [PlanStep(id=f"s{number}", title=title) for number, title in enumerate(titles[:most], start=1)]
    return [*steps, PlanStep(id=WRITE, title=_TITLES[language][WRITE])]


def edited_plan(titles: Sequence[str], plan: Sequence[PlanStep], kind: TaskKind, language: Language) -> list[PlanStep]:
    """A plan with these steps: known ones stay what they are, those of an open task are worked out, and the answer is always written last."""
    known = {} if kind == "open" else {step.title: step for step in plan}
    own = list(dict.fromkeys(bare for title in titles if (bare := title.strip()) and bare != _TITLES[language][WRITE]))
    steps = [known.get(title) or PlanStep(id=f"s{number}", title=title) for number, title in enumerate(own, start=1)]
    return [*steps, PlanStep(id=WRITE, title=_TITLES[language][WRITE])]


def is_worked_out(step: PlanStep) -> bool:
    """Whether a step is one of the model's own, to be worked out with notes."""
    return re.fullmatch(r"s\d+", step.id) is not None


def _listed(text: str) -> list[str]:
    titles: list[str] = []
    for line in text.splitlines():
        if not (item := _ITEM.match(line)):
            continue
        title = re.sub(r"[*_`#]+", "", item[1]).strip(" .:：。;；-")
        if title and title.casefold() not in {known.casefold() for known in titles}:
            titles.append(title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1] + "…")
    return titles
