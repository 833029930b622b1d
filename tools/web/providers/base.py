"""What a search provider is: a question turned into one HTTP request, an answer turned into hits. Pure: the chain sends, waits and rests."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from pydantic import JsonValue

from tandem.egress import EgressRules
from tools.web.addresses import plain_url, sameness

Recency = Literal["day", "week", "month", "year"]
MAX_TITLE_CHARS: Final = 150
MAX_SNIPPET_CHARS: Final = 300
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is looked for."""

    text: str
    count: int = 5
    language: str | None = None
    """Like ``en`` or ``zh-CN``."""
    region: str | None = None
    """Two letters of ISO 3166, upper case."""
    recency: Recency | None = None
    """Not older than this."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A page that was found; plain text, bounded."""

    title: str
    url: str
    snippet: str


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One HTTP request to a provider; its secret, if any, is in a header and nowhere else."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes | None = None


class AnswerUnusable(Exception):
    """What came is no list of results; the text says what it is instead."""


class SearchProvider(Protocol):
    """One source of search results."""

    @property
    def name(self) -> str:
        """As the setting ``tools.search`` spells it."""
        ...

    @property
    def concurrency(self) -> int:
        """Requests at a time that it bears."""
        ...

    @property
    def rules(self) -> EgressRules:
        """Where its requests may go."""
        ...

    def request(self, query: SearchQuery) -> SearchRequest: ...

    def hits(self, body: bytes) -> Sequence[Hit]:
        """The hits of an answer with status 200; empty when it found nothing.

        Raises:
            AnswerUnusable: It is a captcha, an error in the dress of a success, or garbage.
        """
        ...


def json_answer(body: bytes) -> Mapping[str, JsonValue]:
    """The answer as a JSON object. Raises ``AnswerUnusable``."""
    try:
        answer: JsonValue = json.loads(body)
    # A UnicodeDecodeError is a ValueError as well; deep nesting is a RecursionError.
    except (ValueError, RecursionError):
        raise AnswerUnusable("its answer is not JSON") from None
    if not isinstance(answer, dict):
        raise AnswerUnusable("its answer is not a JSON object")
    return answer


def json_hits(found: JsonValue, snippet_key: str) -> list[Hit]:
    """Hits of a list of objects with ``title``, ``url`` and a snippet; entries of another shape are left out. Raises ``AnswerUnusable``."""
    if not isinstance(found, list):
        raise AnswerUnusable("its answer holds no list of results")
    entries = [entry for entry in found if isinstance(entry, dict)]
    return tidy([(entry.get("title"), entry.get("url"), entry.get(snippet_key)) for entry in entries])


def tidy(found: Sequence[tuple[object, object, object]]) -> list[Hit]:
    """Title, address and snippet as hits: plain text, one spelling per address, each page once, no address that is not http(s)."""
    hits: dict[str, Hit] = {}
    for title, address, snippet in found:
        url = plain_url(address) if isinstance(address, str) else None
        if url is not None:
            hit = Hit(plain_text(title, MAX_TITLE_CHARS) or url, url, plain_text(snippet, MAX_SNIPPET_CHARS))
            hits.setdefault(sameness(url), hit)
    return list(hits.values())


def plain_text(value: object, limit: int) -> str:
    """Markup removed, white space joined, cut; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    return cut_text(" ".join(html.unescape(_TAG.sub("", value[: limit * 8])).split()), limit)


def cut_text(text: str, limit: int) -> str:
    """At most so many characters, with an ellipsis where something was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"
