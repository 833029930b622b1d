"""The ``web_search`` tool: pages about something, through the operator's chain of search providers.

Covered: keys go in a header to their provider's host and nowhere else; answers are bounded and parsed as data; addresses are in one spelling, http(s)
only, without trackers; a failure is never an empty success. Not covered: what titles and snippets say. They are words of strangers (the call taints).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from pydantic import JsonValue, SecretStr

from tandem.errors import SettingsInvalid
from tandem.ports import ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import Citation, ToolExample, ToolResult, ToolSpec
from tandem.settings import ToolSettings
from tandem.telemetry import SystemClock
from tools.base import fitting, refused
from tools.offers import Offer, Supplies
from tools.web.chain import Found, NothingFound, SearchChain
from tools.web.providers.base import MAX_SNIPPET_CHARS, Hit, Recency, SearchProvider, SearchQuery, cut_text
from tools.web.providers.brave import Brave
from tools.web.providers.duckduckgo import DuckDuckGo
from tools.web.providers.searxng import SEARXNG_SETTING, Searxng
from tools.web.providers.tavily import Tavily

MAX_QUERY_CHARS: Final = 400
"""What Brave and Tavily take."""
DEFAULT_COUNT: Final = 5
_SHORTEST_SNIPPET_CHARS: Final = 80

SPEC: Final = ToolSpec(
    name="web_search",
    description="Searches the web. Returns titles, addresses and snippets; read a page with web_fetch before you rely on it.",
    parameters={
        "type": "object",
        "properties": {
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_QUERY_CHARS,
                "description": "A few words, in the language of the pages wanted.",
            },
            "count": {"type": "integer", "minimum": 1, "maximum": 10, "description": f"Results wanted; {DEFAULT_COUNT} by default."},
            "language": {"type": "string", "pattern": "^[a-z]{2}(-[A-Za-z]{2,4})?$", "description": "Like en or zh-CN."},
            "region": {"type": "string", "pattern": "^[A-Z]{2}$", "description": "Country, like US or CN."},
            "recency": {"type": "string", "enum": ["day", "week", "month", "year"], "description": "Only pages not older than this."},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    side_effect="read_external",
    taints=True,
    timeout_s=30.0,
    max_output_bytes=16_384,
    max_output_tokens=3_000,
    needs=["egress", "configuration"],
    examples=[
        ToolExample(arguments={"query": "PostgreSQL 18 release date"}),
        ToolExample(arguments={"query": "大熊猫 野外种群数量", "language": "zh-CN", "recency": "year"}, note="in Chinese, of the last year"),
    ],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """The tool, where the operator named a provider that can be asked. Raises ``SettingsInvalid`` for a provider that does not exist."""
    providers, missing = configured_providers(supplies.settings.tools)
    if not providers:
        reason = "; ".join(missing) or "no search provider is set; set TANDEM_TOOLS_SEARCH to one or more of searxng, brave, tavily, duckduckgo"
        return [Offer(SPEC, None, reason)]
    return [Offer(SPEC, WebSearch(SearchChain(providers, supplies.egress, SystemClock())), "; ".join(missing))]


def configured_providers(tools: ToolSettings) -> tuple[list[SearchProvider], list[str]]:
    """The providers of the setting in its order, and a sentence for each that lacks its key or address."""
    known: dict[str, SearchProvider | str] = {
        "searxng": Searxng(tools.searxng_url) if tools.searxng_url else f"searxng needs {SEARXNG_SETTING}",
        "brave": _keyed(tools.brave_key, Brave, "brave needs TANDEM_TOOLS_BRAVE_KEY"),
        "tavily": _keyed(tools.tavily_key, Tavily, "tavily needs TANDEM_TOOLS_TAVILY_KEY"),
        "duckduckgo": DuckDuckGo(),
    }
    for name in tools.search:
        if name not in known:
            raise SettingsInvalid(f"TANDEM_TOOLS_SEARCH: there is no search provider {name!r}; use {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(tools.search)]
    providers = [provider for provider in chosen if not isinstance(provider, str)]
    # A base URL that cannot be one shall stop the start, not the first search.
    for provider in providers:
        _ = provider.rules
    return providers, [reason for reason in chosen if isinstance(reason, str)]


def _keyed(key: SecretStr | None, provider: "type[Brave] | type[Tavily]", missing: str) -> SearchProvider | str:
    return provider(key) if key is not None and key.get_secret_value() else missing


class WebSearch:
    """Searches through one chain, which all calls of a process share."""

    def __init__(self, chain: SearchChain) -> None:
        self._chain = chain

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:  # noqa: ARG002 - the same for everybody
        query = _query(arguments)
        if not query.text:
            return refused("the query is empty; name what you look for in a few words", "invalid_arguments")
        try:
            return _shown(await self._chain.search(query))
        except NothingFound as nothing:
            return _failed(nothing)


def _query(arguments: Mapping[str, JsonValue]) -> SearchQuery:
    text = " ".join(str(arguments["query"]).split())
    count = cast("int", arguments.get("count", DEFAULT_COUNT))
    language, region = cast("str | None", arguments.get("language")), cast("str | None", arguments.get("region"))
    return SearchQuery(text, int(count), language, region, cast("Recency | None", arguments.get("recency")))


def _shown(found: Found) -> ToolResult:
    tried: dict[str, JsonValue] = {attempt.provider: attempt.reason for attempt in found.tried}
    hits, snippet_chars = list(found.hits), MAX_SNIPPET_CHARS
    output = _output(found.provider, tried, hits, snippet_chars)
    # Whole results, rather fewer words of each: a list cut in its middle would be no list.
    while len(hits) > 1 and not _fits(output):
        if snippet_chars > _SHORTEST_SNIPPET_CHARS:
            snippet_chars //= 2
        else:
            hits.pop()
        output = _output(found.provider, tried, hits, snippet_chars)
    return ToolResult(
        ok=True,
        output=output,
        citations=[Citation(source=hit.url, title=hit.title) for hit in hits],
        links=[hit.url for hit in hits],
        is_truncated=len(hits) < len(found.hits),
    )


def _output(provider: str, tried: Mapping[str, JsonValue], hits: Sequence[Hit], snippet_chars: int) -> JsonObject:
    results: list[JsonValue] = [{"title": hit.title, "url": hit.url, "snippet": cut_text(hit.snippet, snippet_chars)} for hit in hits]
    return {"provider": provider, "results": results, **({"tried": dict(tried)} if tried else {})}


def _fits(output: JsonObject) -> bool:
    text = json.dumps(output, ensure_ascii=False)
    return fitting(text, SPEC) == text


def _failed(nothing: NothingFound) -> ToolResult:
    if nothing.is_certain:
        return refused("no provider knows a page for this query; use fewer or other words, or drop recency, language and region", "no_results")
    again = f"try again in {nothing.wait_s:.0f} s" if nothing.wait_s else "try again"
    return refused(f"the search failed ({nothing}); {again}, or go on without it and say so", "search_failed", retryable=True)
