"""Tavily's search API: https://docs.tavily.com/documentation/api-reference/endpoint/search. The key travels in one header.

It has no parameter for a language, and knows countries by name only: both are left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from tandem.egress import PUBLIC_WEB, EgressRules
from tools.web.providers.base import Hit, SearchQuery, SearchRequest, json_answer, json_hits

_MAX_CHARS: Final = 400


@dataclass(frozen=True, slots=True)
class Tavily:
    """One account."""

    key: SecretStr
    base_url: str = "https://api.tavily.com"
    name: str = "tavily"
    concurrency: int = 2
    rules: EgressRules = PUBLIC_WEB

    def request(self, query: SearchQuery) -> SearchRequest:
        asked: dict[str, str | int] = {"query": query.text[:_MAX_CHARS], "max_results": query.count, "search_depth": "basic"}
        if query.recency:
            asked["time_range"] = query.recency
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": f"Bearer {self.key.get_secret_value()}"}
        return SearchRequest(f"{self.base_url}/search", "POST", headers, json.dumps(asked, ensure_ascii=False).encode())

    def hits(self, body: bytes) -> Sequence[Hit]:
        return json_hits(json_answer(body).get("results"), "content")
