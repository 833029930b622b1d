"""SearXNG, a metasearch engine that an operator runs: https://docs.searxng.org/dev/search_api.html. The instance must allow ``format=json``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from tandem.egress import EgressRules, operated
from tools.web.providers.base import AnswerUnusable, Hit, SearchQuery, SearchRequest, json_answer, json_hits

SEARXNG_SETTING: Final = "TANDEM_TOOLS_SEARXNG_URL"


@dataclass(frozen=True, slots=True)
class Searxng:
    """One instance."""

    base_url: str
    name: str = "searxng"
    concurrency: int = 4

    @property
    def rules(self) -> EgressRules:
        return operated(self.base_url, SEARXNG_SETTING)

    def request(self, query: SearchQuery) -> SearchRequest:
        asked = {"q": query.text, "format": "json", "safesearch": "1"}
        if query.language:
            asked["language"] = f"{query.language}-{query.region}" if query.region and "-" not in query.language else query.language
        if query.recency:
            asked["time_range"] = query.recency
        return SearchRequest(f"{self.base_url.rstrip('/')}/search?{urlencode(asked)}", headers={"Accept": "application/json"})

    def hits(self, body: bytes) -> Sequence[Hit]:
        answer = json_answer(body)
        hits = json_hits(answer.get("results"), "content")
        if not hits and (away := answer.get("unresponsive_engines")):
            raise AnswerUnusable(f"it found nothing, and {len(away) if isinstance(away, list) else 'some'} of its engines did not answer")
        return hits
