"""DuckDuckGo's page for browsers without scripts: no key, no promise. It answers 202, or a page with a puzzle, to those who ask often.

Links to DuckDuckGo itself, which is where its advertisements point, are left out; its counting redirects are unwrapped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlencode, urlsplit

from tandem.egress import PUBLIC_WEB, EgressRules
from tools.web.addresses import is_duckduckgo, unwrapped
from tools.web.providers.base import AnswerUnusable, Hit, SearchQuery, SearchRequest, tidy

_CAPTCHA_MARKS: Final = ("anomaly-modal", "anomaly.js", "challenge-form", "g-recaptcha")
_RESULT_MARKS: Final = ("result__a", "result__body", "no-results", "no_results", 'id="links"')


@dataclass(frozen=True, slots=True)
class DuckDuckGo:
    """The public page."""

    base_url: str = "https://html.duckduckgo.com"
    name: str = "duckduckgo"
    concurrency: int = 1
    rules: EgressRules = PUBLIC_WEB

    def request(self, query: SearchQuery) -> SearchRequest:
        asked = {"q": query.text, "b": ""}
        if query.region and query.language:
            asked["kl"] = f"{query.region.lower()}-{query.language[:2].lower()}"
        if query.recency:
            asked["df"] = query.recency[0]
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
        return SearchRequest(f"{self.base_url}/html/", "POST", headers, urlencode(asked).encode())

    def hits(self, body: bytes) -> Sequence[Hit]:
        page = body.decode("utf-8", "replace")
        results = _Results()
        results.feed(page)
        results.close()
        if results.found:
            return tidy([entry for entry in results.found if not _is_own(entry[1])])
        if any(mark in page for mark in _CAPTCHA_MARKS):
            raise AnswerUnusable("it wants a puzzle solved (captcha)")
        if not any(mark in page for mark in _RESULT_MARKS):
            raise AnswerUnusable("its page is not a page of results")
        return []


def _is_own(url: str) -> bool:
    try:
        return is_duckduckgo(urlsplit(url).hostname or "")
    except ValueError:
        return True


class _Results(HTMLParser):
    """Collects (title, address, snippet) from links of the class ``result__a`` and what is marked ``result__snippet`` after each."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, str, str]] = []
        self._part: str | None = None
        """What the text belongs to at present."""
        self._tag = ""
        self._open = 0
        """Elements like the part's own that are open, itself included."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if "result__a" in classes:
            self.found.append(("", unwrapped(given.get("href") or ""), ""))
            self._part, self._tag, self._open = "title", tag, 1
        elif "result__snippet" in classes and self.found:
            self._part, self._tag, self._open = "snippet", tag, 1
        elif tag == self._tag:
            self._open += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == self._tag:
            self._open -= 1
            if self._open <= 0:
                self._part, self._tag = None, ""

    def handle_data(self, data: str) -> None:
        if self._part is None:
            return
        title, url, snippet = self.found[-1]
        self.found[-1] = (title + data, url, snippet) if self._part == "title" else (title, url, snippet + data)
