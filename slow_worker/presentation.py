"""How an answer that was voted on, or that keeps a form, is shown. Pure text work, in the language of the task."""

import json
import re
from collections.abc import Sequence
from typing import Final

from slow_worker.workspace import Language, Task, Try

_ANSWER: Final[dict[Language, str]] = {"en": "**Answer: {answer}**", "zh": "**答案：{answer}**"}
_PROGRAM: Final[dict[Language, str]] = {
    "en": "Computed with this program:\n\n```python\n{program}\n```",
    "zh": "用以下程序算得：\n\n```python\n{program}\n```",
}
_NOTHING: Final[dict[Language, str]] = {
    "en": "I found no answer I can stand behind: {tries} attempts gave none that could be read.",
    "zh": "没有得到可靠的答案：{tries} 次尝试都没有给出可以读取的结果。",
}
_BEST: Final[dict[Language, str]] = {"en": "The newest attempt, unchecked:\n\n{text}", "zh": "最近一次尝试（未经检查）：\n\n{text}"}
_CLOSING: Final = re.compile(r"\n*[*_#\s]*(?:final answer|answer|最终答案|答案)[*_\s]*[:：][^\n]*\s*\Z", re.IGNORECASE)


def present_votes(task: Task, winner: str, supporters: Sequence[Try]) -> str:
    """The shortest reasoning that reached the answer, else the program, then the answer on a line of its own."""
    reasoned = sorted((attempt for attempt in supporters if attempt.strategy == "cot"), key=lambda attempt: len(attempt.text))
    if reasoned:
        shown = _CLOSING.sub("", reasoned[0].text).strip()
    else:
        program = next((attempt.program for attempt in supporters if attempt.program), "")
        shown = _PROGRAM[task.language].format(program=program)
    return f"{shown}\n\n{_ANSWER[task.language].format(answer=winner)}".strip()


def answer_line(language: Language, answer: str) -> str:
    """A short answer on a line of its own."""
    return _ANSWER[language].format(answer=answer)


def present_form(task: Task, attempt: Try) -> str:
    """JSON laid out, code as the model presented it."""
    if task.kind == "json" and attempt.answer is not None:
        return json.dumps(json.loads(attempt.answer), ensure_ascii=False, indent=2)
    return attempt.text.strip()


def abstention(task: Task, tries: Sequence[Try]) -> str:
    """What to say when no attempt held; the newest text is shown as what it is."""
    text = _NOTHING[task.language].format(tries=len(tries))
    newest = next((attempt.text.strip() for attempt in reversed(tries) if attempt.text.strip()), "")
    return f"{text}\n\n{_BEST[task.language].format(text=newest)}" if newest else text
