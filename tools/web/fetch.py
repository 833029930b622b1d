"""The ``web_fetch`` tool: one page as Markdown, in parts that fit a model.

Covered: the address and each redirect are judged by the guarded way out; time, bytes and decompressed size are bounded; only listed kinds of content
are read, in a child process with limits of its own; what a reader would not see is left out; empty pages are errors. Not covered: what a page says in
plain sight. It is the word of a stranger (the call taints), and what it may lead to is decided by ``tools/authority.py``. ``robots.txt`` is not
obeyed: see ``retrieval.py``.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from pydantic import JsonValue

from tandem.ports import ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import Citation, ToolExample, ToolResult, ToolSpec
from tandem.telemetry import SystemClock
from tools.base import fitting, refused
from tools.confined.work import WorkRefused
from tools.offers import Offer, Supplies
from tools.web.pages import Pages, WebPage
from tools.web.retrieval import FetchFailed, Retrieval
from tools.web.windows import Window, passages_about, window

DEFAULT_CHARS: Final = 4_000
DEFAULT_TOKENS: Final = 1_800
"""What a part takes of a small model's context when nothing else is asked for."""
MOST_TOKENS: Final = 3_600
MOST_CHARS: Final = 12_000

SPEC: Final = ToolSpec(
    name="web_fetch",
    description=(
        "Reads a web page (HTML, text, JSON, feed, PDF) and returns its text as Markdown. A long page comes in parts: pass next_start as start to "
        "read on, or find to get only the passages about something."
    ),
    parameters={
        "type": "object",
        "properties": {
            "url": {"type": "string", "minLength": 1, "maxLength": 2048, "description": "The address, beginning with https:// or http://."},
            "start": {"type": "integer", "minimum": 0, "description": "Character to begin at; 0 by default."},
            "max_chars": {"type": "integer", "minimum": 200, "maximum": MOST_CHARS, "description": f"Longest part; {DEFAULT_CHARS} by default."},
            "find": {"type": "string", "minLength": 1, "maxLength": 300, "description": "Give only the passages about this."},
            "links": {"type": "boolean", "description": "Also list the page's links."},
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    side_effect="read_external",
    taints=True,
    url_arguments=["url"],
    timeout_s=45.0,
    max_output_bytes=32_768,
    max_output_tokens=4_200,
    needs=["egress"],
    examples=[
        ToolExample(arguments={"url": "https://www.postgresql.org/docs/release/"}),
        ToolExample(arguments={"url": "https://zh.wikipedia.org/wiki/大熊猫", "find": "野生数量"}, note="only the passages about something"),
    ],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """The tool; it needs nothing but the network."""
    clock = SystemClock()
    pages = Pages(Retrieval(supplies.egress, clock), clock)
    return [Offer(SPEC, WebFetch(pages), close=pages.close)]


class WebFetch:
    """Shows parts of pages."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        start, sought = int(cast("int", arguments.get("start", 0))), str(arguments.get("find", "")).strip()
        try:
            page = await self._pages.read(
                str(arguments["url"]).strip(),
                (context.tenant, context.job_id),
                is_known=bool(start or sought),
                # The known address was judged, not wherever its server sends a job that strangers talk to.
                may_leave_host=not context.tainted_by,
            )
        except FetchFailed as failure:
            return refused(failure.message, failure.code, retryable=failure.retryable)
        except WorkRefused as error:
            return refused(error.message, error.code)
        chars = int(cast("int", arguments.get("max_chars", DEFAULT_CHARS)))
        tokens = MOST_TOKENS if "max_chars" in arguments else DEFAULT_TOKENS
        if sought and len(page.text) > window(page.text, 0, chars, tokens).end:
            # Indexing a long page is a tenth of a second of pure Python.
            found = await asyncio.to_thread(passages_about, page.text, sought, chars, tokens)
            return _with_links(_found(page, sought, found), page, arguments)
        if start and start >= len(page.text):
            return refused(f"the page has {len(page.text)} characters, so nothing begins at {start}; use a smaller start", "invalid_arguments")
        return _with_links(_part(page, window(page.text, start, chars, tokens)), page, arguments)


def _facts(page: WebPage) -> JsonObject:
    facts: JsonObject = {"url": page.url, "title": page.title, "author": page.author, "date": page.date, "notes": list(page.notes)}
    return {name: value for name, value in facts.items() if value}


def _part(page: WebPage, part: Window) -> ToolResult:
    output: JsonObject = {**_facts(page), "text": page.text[part.start : part.end]}
    if part.start or part.end < len(page.text):
        output |= {"start": part.start, "total_chars": len(page.text)}
    if part.end < len(page.text):
        output["next_start"] = part.end
    return ToolResult(ok=True, output=output, citations=[Citation(source=page.url, title=page.title)], is_truncated=part.end < len(page.text))


def _found(page: WebPage, sought: str, found: Sequence[Window]) -> ToolResult:
    if not found:
        name = page.title or page.url
        return refused(
            f"no passage of {name!r} ({len(page.text)} characters) is about {sought!r}; use other words, or read it from start 0", "not_found"
        )
    passages: list[JsonValue] = [{"start": each.start, "text": page.text[each.start : each.end]} for each in found]
    citations = [
        Citation(source=page.url, title=page.title, quote=page.text[each.start : each.end], start=each.start, end=each.end) for each in found
    ]
    return ToolResult(ok=True, output={**_facts(page), "passages": passages, "total_chars": len(page.text)}, citations=citations)


def _with_links(result: ToolResult, page: WebPage, arguments: Mapping[str, JsonValue]) -> ToolResult:
    """The links for the authority, all of them; for the model as many as still fit, if it asks."""
    if not result.ok or not isinstance(result.output, dict):
        return result
    output = dict(result.output)
    if arguments.get("links"):
        listed: list[JsonValue] = [{"text": label, "url": url} for label, url in page.links]
        while listed and not _fits({**output, "links": listed}):
            del listed[-max(1, len(listed) // 8) :]
        output["links"] = listed
    return result.model_copy(update={"output": output, "links": [url for _, url in page.links]})


def _fits(output: JsonObject) -> bool:
    text = json.dumps(output, ensure_ascii=False)
    return fitting(text, SPEC) == text
