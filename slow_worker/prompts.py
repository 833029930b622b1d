"""What System 2 says to a model, in English and Chinese; worded for small models (Qwen2.5-Coder-1.5B) and plain enough for any.

The language of the prompt is the language of the task, and so is the answer's. Parsers of the replies live beside the strategies that ask.
"""

from collections.abc import Sequence
from typing import Final

from slow_worker.workspace import Language, Task
from tandem.schemas.chat import ChatMessage

LONGEST_TASK_CHARS: Final = 24_000
"""Of a longer task the middle is left out, and the gap is marked."""
_CONTEXT_MESSAGES: Final = 6

_SYSTEM: Final[dict[Language, str]] = {
    "en": "You are a careful assistant. Work exactly, and answer in English.",
    "zh": "你是一个细心的助手。请认真、准确地完成任务，并用中文回答。",
}
_COT: Final[dict[Language, str]] = {
    "en": "{task}\n\nThink step by step. Show each calculation on its own line. End with a line of the form\nAnswer: <{form}>",
    "zh": "{task}\n\n请一步一步思考，每个算式单独写一行。最后单独写一行：\n答案：<{form}>",
}
"""Asking for few short lines is what a small model takes as leave to skip the reasoning: 6 of 24 GSM8K-train questions right against 16 with these
words (Coder-1.5B, one sample, temperature 0.2)."""
_FORMS: Final[dict[Language, dict[str, str]]] = {
    "en": {"number": "the final number only", "choice": "exactly one of: {choices}", "text": "the final answer, as short as possible"},
    "zh": {"number": "只写最后的数字", "choice": "以下之一：{choices}", "text": "最终答案，越短越好"},
}
_PROGRAM: Final[dict[Language, str]] = {
    "en": (
        "Write a Python function solve() without arguments that computes the answer to the problem and returns it as a number. "
        "First put every given quantity into a variable with a clear name, then compute step by step. "
        "Use only plain Python and the math module. Reply with one ```python code block and nothing else.\n\nProblem:\n{task}"
    ),
    "zh": (
        "请写一个没有参数的 Python 函数 solve()，计算下面问题的答案并用 return 返回数字。"
        "先把题目中的每个已知量存入含义清楚的变量，再一步一步计算。"
        "只使用普通 Python 和 math 模块。只回复一个 ```python 代码块。\n\n问题：\n{task}"
    ),
}
_FAILURE: Final[dict[Language, str]] = {
    "en": "\n\nAn earlier try failed:\n{failure}\nAvoid this mistake.",
    "zh": "\n\n之前的一次尝试失败了：\n{failure}\n请避免这个错误。",
}
_PLAN: Final[dict[Language, str]] = {
    "en": (
        "List the parts that a complete answer to the task must have, {count} at most, one per line, numbered 1., 2., ... "
        "Each part is one short phrase (at most 10 words). Every requirement of the task must belong to one of them. No explanations."
        "\n\nTask:\n{task}"
    ),
    "zh": (
        "请列出完整回答下面的任务必须包含的部分。最多 {count} 部分，每行一部分，用 1. 2. 编号。"
        "每部分是一个简短的短语（不超过 15 个字），任务中的每项要求都要归入其中一部分。不要解释。\n\n任务：\n{task}"
    ),
}
_STEP: Final[dict[Language, str]] = {
    "en": (
        "Task:\n{task}\n\nThe answer has these parts:\n{outline}\n\nWrite notes for part {number} only: {title}\n"
        "At most 4 different bullet points, each one full, concrete sentence with the names, numbers, prices or times of this task. "
        "No nested lists, no headings, no introduction."
    ),
    "zh": (
        "任务：\n{task}\n\n答案包含以下部分：\n{outline}\n\n只为第 {number} 部分写要点：{title}\n"
        "最多 4 条不同的要点，每条是一句完整、具体的话，写明本任务的名称、数字、价格或时间。不要嵌套列表、标题和开场白。"
    ),
}
_WRITE: Final[dict[Language, str]] = {
    "en": (
        "Task:\n{task}\n\nNotes:\n{notes}\n\nWrite the final answer to the task from these notes. Keep every requirement of the task, "
        "give each part a short heading, make one decision where the notes only list options, and correct what contradicts the task. "
        "Say nothing twice and do not mention the notes."
    ),
    "zh": (
        "任务：\n{task}\n\n要点：\n{notes}\n\n请根据这些要点写出任务的最终答案。满足任务的每一项要求，"
        "每部分用一个简短的标题，对只列出选项的地方做出决定，并改正与任务矛盾的内容。不要重复，也不要提到“要点”。"
    ),
}
_DIRECT: Final[dict[Language, str]] = {"en": "{task}", "zh": "{task}"}
_CODE: Final[dict[Language, str]] = {
    "en": "{task}\n\nReply with one complete ```python code block (or the language the task asks for), then at most two sentences.",
    "zh": "{task}\n\n请回复一个完整的 ```python 代码块（或任务要求的语言），之后最多写两句话。",
}
_JSON: Final[dict[Language, str]] = {
    "en": "{task}\n\nReply with one JSON value and nothing else.{schema}",
    "zh": "{task}\n\n只回复一个 JSON 值，不要有其他内容。{schema}",
}
_SCHEMA: Final[dict[Language, str]] = {"en": " It must satisfy this JSON Schema:\n{schema}", "zh": "必须符合以下 JSON Schema：\n{schema}"}
_DOCUMENT: Final[dict[Language, str]] = {"en": "Document '{name}':\n{text}", "zh": "文档“{name}”：\n{text}"}
_STEER: Final[dict[Language, str]] = {
    "en": "Added to the task while you work on it: {message}\nFollow this where it changes the task; keep the form of the reply asked for above.",
    "zh": "任务进行中补充的要求：{message}\n如与任务不同，以此为准；回复的格式仍按上面的要求。",
}
_REVIEW: Final[dict[Language, str]] = {
    "en": "This is the plan for the task. Approve it, change its steps, or reject it.",
    "zh": "这是任务的计划。请批准、修改步骤，或拒绝。",
}


_APPROVAL: Final[dict[Language, str]] = {
    "en": "May the job call {tool}, with exactly these arguments, once? It asks because {why}.",
    "zh": "是否允许本任务用下列参数调用一次 {tool}？需要批准的原因：{why}。",
}
_OUTCOME: Final[dict[Language, str]] = {
    "en": "A worker was lost while it called {tool}, and nobody knows whether the call took effect. Please look there, and say how to go on.",
    "zh": "调用 {tool} 时执行进程中断，无法确定该调用是否已经生效。请先核实，再选择如何继续。",
}


_TAINTED: Final[dict[Language, str]] = {
    "en": "(The job wrote this question after it had read words of strangers: {source}. Tell it nothing that those must not know.)",
    "zh": "（提出这个问题之前，本任务已读取过外部内容：{source}。请勿透露不应让外部知道的信息。）",
}


def tainted_note(language: Language, source: str) -> str:
    """What whoever answers a question must know of how it came about."""
    return _TAINTED[language].format(source=source[:200])


def approval_prompt(language: Language, tool: str, why: str) -> str:
    """What is asked of whoever approves a call; ``why`` is a clause in English."""
    return _APPROVAL[language].format(tool=tool, why=why)[:2_000]


def outcome_prompt(language: Language, tool: str) -> str:
    """What is asked about a call that may or may not have happened."""
    return _OUTCOME[language].format(tool=tool)


def document_form(language: Language) -> str:
    """How a document is presented; ``{name}`` and ``{text}`` are its own."""
    return _DOCUMENT[language]


def review_prompt(language: Language) -> str:
    """What is asked of whoever reviews the plan."""
    return _REVIEW[language]


def cot_messages(task: Task) -> list[ChatMessage]:
    """Ask for a chain of thought that ends with ``Answer: X`` (答案：X)."""
    contract = task.contract
    form = "choice" if contract.choices else ("number" if contract.kind == "number" or _wants_number(task) else "text")
    shape = _FORMS[task.language][form].format(choices=" | ".join(contract.choices or []))
    return _conversation(task, _COT[task.language].format(form=shape, task=cut(task.text)))


def program_messages(task: Task, failure: str | None) -> list[ChatMessage]:
    """Ask for a program whose ``solve()`` returns the answer."""
    return _conversation(task, _PROGRAM[task.language].format(task=cut(task.text)) + _failed(task.language, failure))


def plan_messages(task: Task, count: int) -> list[ChatMessage]:
    """Ask for a flat list of at most ``count`` short steps."""
    return _conversation(task, _PLAN[task.language].format(task=cut(task.text), count=count))


def step_messages(task: Task, titles: Sequence[str], number: int) -> list[ChatMessage]:
    """Notes for the plan's step ``number``, counted from 1."""
    outline = "\n".join(f"{position}. {title}" for position, title in enumerate(titles, start=1))
    return _conversation(task, _STEP[task.language].format(task=cut(task.text), outline=outline, number=number, title=titles[number - 1]))


def write_messages(task: Task, notes: str) -> list[ChatMessage]:
    """Ask for the final text, from notes if there are any."""
    if not notes:
        return _conversation(task, _DIRECT[task.language].format(task=cut(task.text)))
    return _conversation(task, _WRITE[task.language].format(task=cut(task.text), notes=notes))


def code_messages(task: Task, failure: str | None) -> list[ChatMessage]:
    """Ask for code in a fenced block."""
    return _conversation(task, _CODE[task.language].format(task=cut(task.text)) + _failed(task.language, failure))


def json_messages(task: Task, schema: str, failure: str | None) -> list[ChatMessage]:
    """Ask for one JSON value; ``schema`` empty means any."""
    wanted = _SCHEMA[task.language].format(schema=schema) if schema else ""
    return _conversation(task, _JSON[task.language].format(task=cut(task.text), schema=wanted) + _failed(task.language, failure))


def _wants_number(task: Task) -> bool:
    folded = task.text.casefold()
    return any(word in folded for word in ("how many", "how much", "how old", "how far", "how long", "多少", "几"))


def _conversation(task: Task, request: str) -> list[ChatMessage]:
    earlier = [message for message in task.context if message.role != "system"][-_CONTEXT_MESSAGES:]
    return [ChatMessage(role="system", content=_SYSTEM[task.language]), *earlier, ChatMessage(role="user", content=request), *steer_messages(task)]


def steer_messages(task: Task) -> list[ChatMessage]:
    """What people added while the job ran."""
    return [ChatMessage(role="user", content=_STEER[task.language].format(message=message)) for message in task.steers]


def _failed(language: Language, failure: str | None) -> str:
    return _FAILURE[language].format(failure=failure) if failure else ""


def cut(text: str) -> str:
    """A text without its middle where it is too long for a task."""
    if len(text) <= LONGEST_TASK_CHARS:
        return text
    half = LONGEST_TASK_CHARS // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
