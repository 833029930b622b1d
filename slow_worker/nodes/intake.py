"""Intake: what kind of task this is, in which language, and what answer it owes. Pure: no model is asked."""

import re
from collections.abc import Collection
from typing import Final

from langgraph.runtime import Runtime

from slow_worker.context import JobContext
from slow_worker.verifiers.contract import check_schema
from slow_worker.workspace import Language, Task, TaskKind, Update, Workspace
from tandem.schemas.jobs import JobRequest
from tools.addresses import addresses_in

_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_NUMBER: Final = re.compile(
    r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|half|twice|double|dozen)\b|[一二三四五六七八九十百千两半]"
)
_ASKS_AMOUNT: Final = re.compile(
    r"\bhow (?:many|much|old|far|long|tall|fast|big|heavy)\b|\bwhat (?:is|are|was|will be|would be) (?:the )?(?:\w+ ){0,3}?(?:total|sum|average|cost|"
    r"price|number|amount|probability|percentage|percent|value|area|perimeter|volume|remainder|difference|product|ratio|speed|distance|age|\d)|"
    r"\b(?:calculate|compute|solve for|evaluate|simplify)\b|\d\s*[-+*/×÷^%]\s*\d|=\s*\?|"
    r"多少|几(?:个|天|人|岁|本|元|次|米|千米|小时|分钟|年|只|条|张|支|块|倍|分|朵|棵|页|袋|箱|盒|辆|名|位|瓶)|求|计算|等于|=\s*？",
    re.IGNORECASE,
)
_OPEN_WORK: Final = re.compile(
    r"\b(?:plan|write|draft|design|explain|describe|compare|summari[sz]e|outline|essay|letter|email|story|itinerary|schedule|list|propose|suggest|recommend|analy[sz]e)\b|"
    r"计划|规划|写一|撰写|设计|解释|说明|比较|总结|方案|建议|分析|列出|介绍|安排",
    re.IGNORECASE,
)
_THOUGHT_ALONG: Final = frozenset({"python", "calculator", "datetime"})
"""Tools that alone do not make a task one for turns: votes over reasoning and programs serve it better."""
_CHINESE_SHARE: Final = 0.4
"""Share of Chinese characters among Chinese characters and Latin words above which a task is Chinese."""


async def intake(state: Workspace, runtime: Runtime[JobContext]) -> Update:  # noqa: ARG001 - a node has this signature
    """Put the task on the workspace. Raises ``InvalidRequest`` for a contract that nothing can meet."""
    task = understand(runtime.context.request, runtime.context.tools)
    if task.contract.json_schema is not None:
        check_schema(task.contract.json_schema)
    return {"task": task}


def understand(request: JobRequest, tools: Collection[str] = ()) -> Task:
    """The task of a request: its last message, with what came before as context. ``tools`` are the names it may use."""
    if isinstance(request.input, str):
        text, context = request.input, []
    else:
        text, context = request.input[-1].content if request.input else "", list(request.input[:-1])
    uses_tools = needs_tools(text, request, tools)
    # What tools found is told in words, also where numbers are asked for: nobody votes on it.
    kind: TaskKind = "open" if uses_tools and request.answer.kind == "text" else _kind(text, request)
    return Task(text=text, context=context, kind=kind, language=language_of(text), contract=request.answer, uses_tools=uses_tools)


def needs_tools(text: str, request: JobRequest, tools: Collection[str]) -> bool:
    """Whether to work by turns with tools: one was asked for by name, there are files to read, or the task names an address to fetch."""
    if not tools:
        return False
    if any(name in tools and name not in _THOUGHT_ALONG for name in request.tools or ()):
        return True
    if request.files and any(name not in _THOUGHT_ALONG for name in tools):
        return True
    return "web_fetch" in tools and next(addresses_in(text), None) is not None


def language_of(text: str) -> Language:
    """Chinese when a good share of the text is; everything else is handled in English."""
    chinese, words = len(_CHINESE.findall(text)), len(_LETTERS.findall(text))
    return "zh" if chinese and chinese / (chinese + words) >= _CHINESE_SHARE else "en"


def _kind(text: str, request: JobRequest) -> TaskKind:
    match request.answer.kind:
        case "number":
            return "math"
        case "choice":
            return "choice"
        case "code":
            return "code"
        case "json":
            return "json"
        case "text":
            return "math" if _is_math(text) else "open"


def _is_math(text: str) -> bool:
    """A short text that gives numbers and asks for one, and asks for no writing."""
    if len(text) > 2_000 or not _NUMBER.search(text) or not _ASKS_AMOUNT.search(text):
        return False
    return not _OPEN_WORK.search(text) or re.search(r"how many|how much|多少", text, re.IGNORECASE) is not None
