"""Coverage: does a written answer speak of every step of its plan? A weak check (V0): it finds what was forgotten, never what is wrong."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tandem.schemas.jobs import Check, PlanStep

_SHORTEST_LINE: Final = 6
_MOST_REPEATS: Final = 3


def coverage_checks(text: str, plan: Sequence[PlanStep], *, is_cut: bool) -> list[Check]:
    """Whether the answer is whole, whether it runs in a circle, and which steps of the plan it misses."""
    checks = [Check(name="answer_is_whole", level="V0", passed=bool(text.strip()) and not is_cut, detail="cut off by its length" if is_cut else "")]
    repeated = _most_repeated(text)
    checks.append(
        Check(name="does_not_repeat_itself", level="V0", passed=not repeated, detail=f"again and again: {repeated}"[:200] if repeated else "")
    )
    if plan:
        missing = [step.title for step in plan if not covers(text, step.title)]
        detail = f"missing: {'; '.join(missing)}" if missing else f"all {len(plan)} steps are there"
        checks.append(Check(name="covers_the_plan", level="V0", passed=not missing, detail=detail[:300]))
    return checks


def covers(text: str, title: str) -> bool:
    """Whether a text shares a content word (or two Chinese characters in a row) with a step's title."""
    words = _words(title)
    folded = text.casefold()
    return not words or any(word in folded for word in words)


def _words(title: str) -> list[str]:
    folded = title.casefold()
    latin = [word[:6] for word in re.findall(r"[a-z]{4,}", folded)]
    return latin + [run[at : at + 2] for run in re.findall(r"[\u4e00-\u9fff]+", folded) for at in range(len(run) - 1)]


def _most_repeated(text: str) -> str:
    """A line that comes too often to be meant; empty when there is none."""
    lines = Counter(bare for line in text.splitlines() if len(bare := line.strip(" \t-*#•|:")) >= _SHORTEST_LINE)
    line, count = next(iter(lines.most_common(1)), ("", 0))
    return line if count > _MOST_REPEATS else ""
