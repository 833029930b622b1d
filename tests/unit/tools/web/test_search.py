"""The search chain and its tool, over fake providers on loopback."""

import gzip
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic import JsonValue, SecretStr

from tandem.egress import GuardedClient
from tandem.errors import SettingsInvalid
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.schemas.tools import ToolResult
from tandem.settings import EgressSettings, Settings, ToolSettings
from tandem.testing.clock import FakeClock
from tandem.testing.suites.tool import ToolConformance
from tandem.testing.web import Page, Site, served_pages
from tools.base import fitting
from tools.offers import Supplies
from tools.web.chain import LONGEST_ASKED_REST_S, LONGEST_REST_S, SearchChain
from tools.web.providers.base import SearchProvider
from tools.web.providers.brave import Brave
from tools.web.providers.duckduckgo import DuckDuckGo
from tools.web.providers.searxng import Searxng
from tools.web.providers.tavily import Tavily
from tools.web.search import SPEC, WebSearch, offer
from tools.wrappers import guarded

CONTEXT = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1")
EGRESS = EgressSettings(allow=["127.0.0.1"], timeout_s=0.5)
CLIENT = GuardedClient(EGRESS)
ONE_HIT = Page(json.dumps({"results": [{"title": "Cats", "url": "https://cats.example/", "content": "About cats."}]}), "application/json")
NOTHING = Page('{"results": []}', "application/json")
FIRST, SECOND = "/searxng/search", "/search"


def chain(site: Site, clock: FakeClock | None = None) -> WebSearch:
    """SearXNG first, Tavily second, both on the site."""
    providers: Sequence[SearchProvider] = (Searxng(site.searxng_url), Tavily(SecretStr("k"), base_url=site.url))
    return WebSearch(SearchChain(providers, CLIENT, clock or FakeClock()))


async def search(tool: Tool, **arguments: JsonValue) -> ToolResult:
    return await guarded(tool).run({"query": "cats", **arguments}, CONTEXT)


def output(result: ToolResult) -> dict[str, JsonValue]:
    assert isinstance(result.output, dict), result.error
    return result.output


async def test_the_first_provider_answers_and_the_second_is_not_asked() -> None:
    async with served_pages({FIRST: ONE_HIT, SECOND: ONE_HIT}) as site:
        result = await search(chain(site))

    assert output(result) == {"provider": "searxng", "results": [{"title": "Cats", "url": "https://cats.example/", "snippet": "About cats."}]}
    assert result.links == ["https://cats.example/"]
    assert [(citation.source, citation.title) for citation in result.citations] == [("https://cats.example/", "Cats")]
    assert site.paths == [FIRST]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (Page(status=202), "202"),
        (Page(status=429, headers={"Retry-After": "7"}), "429"),
        (Page(status=500), "500"),
        (Page(status=503), "503"),
        (Page(status=403), "the operator must look at it"),
        (Page(status=302, headers={"Location": "/elsewhere"}), "302"),
        (Page("<html>captcha</html>"), "not JSON"),
        (Page(b"\x00\xff\x80"), "not JSON"),
        (NOTHING, "found nothing"),
        (Page(is_silent=True), "did not answer"),
        (Page("x", is_dripping=True), "did not answer"),
        (Page("x" * 1000, endless_bytes=3_000_000), "more than"),
        (Page(gzip.compress(bytes(50_000_000), mtime=0), headers={"Content-Encoding": "gzip"}), "more than"),
    ],
    ids=["202", "429", "500", "503", "403", "redirect", "html", "garbage", "empty", "silent", "drip", "huge", "gzip bomb"],
)
async def test_a_provider_that_fails_is_followed_by_the_next_and_named(page: Page, reason: str) -> None:
    async with served_pages({FIRST: page, SECOND: ONE_HIT}) as site:
        shown = output(await search(chain(site)))

    assert shown["provider"] == "tavily"
    assert isinstance(shown["tried"], dict)
    assert reason in str(shown["tried"]["searxng"])


async def test_a_provider_that_cannot_be_reached_is_followed_by_the_next() -> None:
    async with served_pages({SECOND: ONE_HIT}) as site:
        gone = Searxng("http://127.0.0.1:1/")
        tool = WebSearch(SearchChain([gone, Tavily(SecretStr("k"), base_url=site.url)], CLIENT, FakeClock()))
        assert output(await search(tool))["tried"] == {"searxng": "could not be reached"}


async def test_when_all_fail_the_error_names_each_and_may_be_retried() -> None:
    async with served_pages({FIRST: Page(status=429, headers={"Retry-After": "40"}), SECOND: Page(status=500)}) as site:
        result = await search(chain(site))

    assert not result.ok
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("search_failed", True)
    assert "searxng: answered 429" in result.error.message
    assert "tavily: answered 500" in result.error.message
    assert "try again in 2 s" in result.error.message


async def test_when_all_know_nothing_the_query_is_to_change() -> None:
    async with served_pages({FIRST: NOTHING, SECOND: NOTHING}) as site:
        result = await search(chain(site))

    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("no_results", False)


async def test_one_that_failed_and_one_that_knows_nothing_are_no_certain_nothing() -> None:
    async with served_pages({FIRST: Page(status=500), SECOND: NOTHING}) as site:
        result = await search(chain(site))

    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("search_failed", True)


async def test_a_provider_that_failed_is_left_alone_twice_as_long_each_time_and_comes_back() -> None:
    clock = FakeClock()
    async with served_pages({FIRST: (Page(status=500), Page(status=500), ONE_HIT, Page(status=500)), SECOND: ONE_HIT}) as site:
        tool = chain(site, clock)
        asked: list[int] = []
        for pause in (0, 1.9, 0.2, 3.9, 0.2, 0.0, 1.9, 0.2):
            clock.advance(pause)
            await search(tool)
            asked.append(site.paths.count(FIRST))

    #   500 at 0, rests 2 s; 500 again at 2.1, rests 4 s; well at 6.2; 500 at 6.2, rests 2 s again
    assert asked == [1, 1, 2, 2, 3, 4, 4, 5]


async def test_retry_after_is_honoured_up_to_an_hour() -> None:
    clock = FakeClock()
    async with served_pages({FIRST: Page(status=429, headers={"Retry-After": "99999999"}), SECOND: ONE_HIT}) as site:
        tool = chain(site, clock)
        await search(tool)
        clock.advance(LONGEST_ASKED_REST_S - 1)
        tried = output(await search(tool))["tried"]
        clock.advance(2)
        await search(tool)

    assert isinstance(tried, dict)
    assert "left alone for 1 s more, because it answered 429" in str(tried["searxng"])
    assert site.paths.count(FIRST) == 2


async def test_a_rest_of_its_own_never_grows_beyond_its_cap() -> None:
    clock = FakeClock()
    async with served_pages({FIRST: Page(status=500), SECOND: ONE_HIT}) as site:
        tool = chain(site, clock)
        for _ in range(15):
            await search(tool)
            clock.advance(LONGEST_REST_S + 0.1)
        assert site.paths.count(FIRST) == 15


async def test_a_key_goes_to_its_provider_alone() -> None:
    async with served_pages({FIRST: Page(status=500), SECOND: ONE_HIT}) as site:
        result = await search(chain(site))

    assert [request.headers.get("authorization") for request in site.requests] == [None, "Bearer k"]
    assert "Bearer" not in result.model_dump_json()


async def test_results_are_counted_and_cut_whole_when_they_are_too_long() -> None:
    many = [{"title": "标题" * 40, "url": f"https://a.example/{'%E7%8C%AB' * 30}{i}", "content": "很长的摘要" * 60} for i in range(20)]
    async with served_pages({FIRST: Page(json.dumps({"results": many}), "application/json")}) as site:
        few, most = await search(chain(site), count=2), await search(chain(site), count=10)

    results = output(few)["results"]
    assert isinstance(results, list)
    assert len(results) == 2
    text = json.dumps(output(most), ensure_ascii=False)
    assert fitting(text, SPEC) == text
    assert 2 < len(most.links) < 10
    assert most.is_truncated


@pytest.mark.parametrize(
    "arguments", [{"query": "   "}, {"query": ""}, {"count": 0}, {"count": 11}, {"region": "china"}, {"recency": "hour"}, {"page": 2}]
)
async def test_arguments_that_make_no_search_are_refused_without_one(arguments: dict[str, JsonValue]) -> None:
    async with served_pages({FIRST: ONE_HIT}) as site:
        result = await search(chain(site), **arguments)

    assert result.error is not None
    assert result.error.code == "invalid_arguments"
    assert site.requests == []


def supplies(**tools: object) -> Supplies:
    settings = Settings.model_construct(tools=ToolSettings.model_validate(tools), egress=EGRESS)
    return Supplies(settings, CLIENT, IdFactory(lambda: 0))


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        ({}, "TANDEM_TOOLS_SEARCH"),
        ({"search": "searxng"}, "TANDEM_TOOLS_SEARXNG_URL"),
        ({"search": "brave,tavily"}, "brave needs TANDEM_TOOLS_BRAVE_KEY; tavily needs TANDEM_TOOLS_TAVILY_KEY"),
        ({"search": "brave", "brave_key": ""}, "TANDEM_TOOLS_BRAVE_KEY"),
    ],
)
async def test_without_a_provider_it_is_not_offered_and_says_what_is_missing(tools: dict[str, object], reason: str) -> None:
    (offered,) = await offer(supplies(**tools))

    assert offered.tool is None
    assert reason in offered.reason


async def test_a_provider_without_its_key_is_named_while_another_serves() -> None:
    (offered,) = await offer(supplies(search="brave,duckduckgo"))

    assert offered.tool is not None
    assert "TANDEM_TOOLS_BRAVE_KEY" in offered.reason


async def test_an_unknown_provider_stops_the_start() -> None:
    with pytest.raises(SettingsInvalid, match="TANDEM_TOOLS_SEARCH: there is no search provider 'gogle'"):
        await offer(supplies(search="gogle"))


async def test_a_base_url_with_credentials_stops_the_start() -> None:
    with pytest.raises(SettingsInvalid, match="TANDEM_TOOLS_SEARXNG_URL"):
        await offer(supplies(search="searxng", searxng_url="http://user:pw@localhost/"))


async def test_a_searxng_on_loopback_needs_no_allow_list_but_only_its_own_origin_opens() -> None:
    async with served_pages({FIRST: ONE_HIT}) as site:
        egress = GuardedClient(EgressSettings())
        reached = await search(WebSearch(SearchChain([Searxng(site.searxng_url)], egress, FakeClock())))
        denied = await search(WebSearch(SearchChain([Brave(SecretStr("k"), base_url=site.url)], egress, FakeClock())))

    assert reached.ok
    assert denied.error is not None
    assert "may not be reached" in denied.error.message
    assert site.paths == [FIRST]


async def test_duckduckgo_is_asked_by_its_form() -> None:
    page = Page('<div id="links"><a class="result__a" href="//duckduckgo.com/l/?uddg=https%3A%2F%2Fcats.example%2F">猫</a></div>')
    async with served_pages({"/html/": page}) as site:
        result = await search(WebSearch(SearchChain([DuckDuckGo(site.url)], CLIENT, FakeClock())), query="猫")

    assert result.links == ["https://cats.example/"]
    assert (site.requests[0].method, site.requests[0].body) == ("POST", b"q=%E7%8C%AB&b=")


class TestConformance(ToolConformance):
    @pytest.fixture
    async def site(self) -> AsyncIterator[Site]:
        async with served_pages({FIRST: ONE_HIT}) as site:
            yield site

    @pytest.fixture
    def tool(self, site: Site) -> Tool:
        return guarded(chain(site))

    @pytest.fixture
    def good_arguments(self) -> dict[str, JsonValue]:
        return {"query": "cats", "count": 3, "language": "en", "region": "US", "recency": "year"}
