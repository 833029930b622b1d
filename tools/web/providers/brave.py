"""Brave's search API: https://api-dashboard.search.brave.com/api-reference/web/search/get. The key travels in one header."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from pydantic import SecretStr

from tandem.egress import PUBLIC_WEB, EgressRules
from tools.web.providers.base import Hit, SearchQuery, SearchRequest, json_answer, json_hits

_MAX_CHARS: Final = 400
_MAX_WORDS: Final = 50
_LANGUAGES: Final = {
    "zh": "zh-hans",
    "zh-cn": "zh-hans",
    "zh-tw": "zh-hant",
    "zh-hk": "zh-hant",
    "ja": "jp",
    "pt": "pt-pt",
    "pt-br": "pt-br",
    "en-gb": "en-gb",
}
"""Where Brave's code is not the language's two letters."""


@dataclass(frozen=True, slots=True)
class Brave:
    """One subscription."""

    key: SecretStr
    base_url: str = "https://api.search.brave.com"
    name: str = "brave"
    concurrency: int = 1
    """Its plans count requests per second."""
    rules: EgressRules = PUBLIC_WEB

    def request(self, query: SearchQuery) -> SearchRequest:
        text = " ".join(query.text.split()[:_MAX_WORDS])[:_MAX_CHARS]
        asked = {"q": text, "count": str(query.count), "text_decorations": "false"}
        if query.language:
            asked["search_lang"] = _LANGUAGES.get(query.language.lower(), query.language[:2].lower())
        if query.region:
            asked["country"] = query.region
        if query.recency:
            asked["freshness"] = f"p{query.recency[0]}"
        headers = {"Accept": "application/json", "X-Subscription-Token": self.key.get_secret_value()}
        return SearchRequest(f"{self.base_url}/res/v1/web/search?{urlencode(asked)}", headers=headers)

    def hits(self, body: bytes) -> Sequence[Hit]:
        web = json_answer(body).get("web")
        # Without results the whole section is missing.
        return json_hits(web.get("results"), "description") if isinstance(web, dict) else []
