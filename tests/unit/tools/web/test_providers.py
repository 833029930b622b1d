"""How each search provider is asked, and how its answers are read."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from tools.web.providers.base import AnswerUnusable, Hit, SearchProvider, SearchQuery, SearchRequest
from tools.web.providers.brave import Brave
from tools.web.providers.duckduckgo import DuckDuckGo
from tools.web.providers.searxng import Searxng
from tools.web.providers.tavily import Tavily

KEY = "k-51c2e7"
BRAVE, TAVILY = Brave(SecretStr(KEY)), Tavily(SecretStr(KEY))
SEARXNG, DUCKDUCKGO = Searxng("http://127.0.0.1:8888/"), DuckDuckGo()
EVERYTHING = SearchQuery("猫 history", 7, "zh", "CN", "week")

DUCKDUCKGO_PAGE = """
<div id="links">
 <div class="result results_links result--ad"><div class="links_main"><h2 class="result__title">
  <a rel="nofollow" class="result__a" href="https://duckduckgo.com/y.js?ad_domain=shop.example&amp;u3=x">Buy cats</a></h2>
  <a class="result__snippet" href="https://duckduckgo.com/y.js?ad">Cheap!</a></div></div>
 <div class="result results_links web-result"><div class="links_main"><h2 class="result__title">
  <a rel="nofollow" class="result__a" href="//duckduckgo.com/l/?uddg=https%3A%2F%2Fexample.com%2Fcats%3Fa%3D1&amp;rut=1">
  The <b>Cat</b> &amp; its past</a></h2>
  <a class="result__snippet" href="//duckduckgo.com/l/?uddg=x">All about <b>cats</b>.</a></div></div>
 <div class="result web-result"><h2><a class="result__a" href="https://zh.example.org/猫">猫的历史</a></h2>
  <div class="result__snippet">家<div>猫</div>的起源</div></div>
 <div class="result web-result"><h2><a class="result__a" href="https://example.com/cats?a=1#top">Again</a></h2></div>
 <div class="result web-result"><h2><a class="result__a" href="javascript:alert(1)">Trap</a></h2></div>
 <div class="result web-result"><h2><a class="result__a" href="https://[broken">Broken</a></h2></div>
</div>"""


def asked(request: SearchRequest) -> dict[str, str]:
    given = (request.body or b"").decode() if request.method == "POST" else urlsplit(request.url).query
    return {name: values[0] for name, values in parse_qs(given).items()}


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (SEARXNG, {"q": "猫 history", "format": "json", "safesearch": "1", "language": "zh-CN", "time_range": "week"}),
        (BRAVE, {"q": "猫 history", "count": "7", "search_lang": "zh-hans", "country": "CN", "freshness": "pw", "text_decorations": "false"}),
        (DUCKDUCKGO, {"q": "猫 history", "kl": "cn-zh", "df": "w"}),
    ],
)
def test_a_query_is_put_in_the_providers_own_words(provider: SearchProvider, expected: dict[str, str]) -> None:
    assert asked(provider.request(EVERYTHING)) == expected


def test_tavily_is_asked_in_json() -> None:
    request = TAVILY.request(EVERYTHING)

    assert (request.method, request.url) == ("POST", "https://api.tavily.com/search")
    assert json.loads(request.body or b"") == {"query": "猫 history", "max_results": 7, "search_depth": "basic", "time_range": "week"}


@pytest.mark.parametrize("provider", [BRAVE, TAVILY])
def test_a_key_is_in_a_header_and_nowhere_else(provider: SearchProvider) -> None:
    request = provider.request(SearchQuery("cats"))

    assert any(KEY in value for value in request.headers.values())
    assert KEY not in request.url
    assert KEY not in (request.body or b"").decode()
    assert KEY not in repr(request)
    assert KEY not in repr(provider)


def test_a_long_query_is_cut_to_what_brave_takes() -> None:
    words = asked(BRAVE.request(SearchQuery("cat " * 90)))["q"].split()
    assert len(words) == 50


def test_duckduckgos_page_gives_its_results_without_adverts_twins_and_traps() -> None:
    assert DUCKDUCKGO.hits(DUCKDUCKGO_PAGE.encode()) == [
        Hit("The Cat & its past", "https://example.com/cats?a=1", "All about cats."),
        Hit("猫的历史", "https://zh.example.org/%E7%8C%AB", "家猫的起源"),
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('<div class="anomaly-modal__title">Unfortunately, bots use DuckDuckGo too.</div>', "captcha"),
        ("<h1>It works!</h1>", "not a page of results"),
        ("", "not a page of results"),
        ("\x00\xff" * 100, "not a page of results"),
    ],
)
def test_duckduckgos_other_pages_are_no_results(body: str, says: str) -> None:
    with pytest.raises(AnswerUnusable, match=says):
        DUCKDUCKGO.hits(body.encode("latin-1"))


def test_duckduckgos_page_without_results_is_an_honest_nothing() -> None:
    assert DUCKDUCKGO.hits(b'<div id="links"><div class="no-results">No results.</div></div>') == []


@pytest.mark.parametrize(
    ("provider", "answer"),
    [
        (SEARXNG, {"results": [{"title": "A", "url": "https://a.example/", "content": "<b>x</b> &amp; y"}]}),
        (BRAVE, {"web": {"results": [{"title": "A", "url": "https://a.example", "description": "<strong>x</strong> &amp;  y"}]}}),
        (TAVILY, {"results": [{"title": "A", "url": "https://a.example/#f", "content": "x & y", "score": 0.9}]}),
    ],
)
def test_json_answers_are_read_as_plain_text(provider: SearchProvider, answer: object) -> None:
    assert provider.hits(json.dumps(answer).encode()) == [Hit("A", "https://a.example/", "x & y")]


@pytest.mark.parametrize("provider", [SEARXNG, BRAVE, TAVILY])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"results": 3, "web": {"results": "x"}}'])
def test_garbage_is_named_as_such(provider: SearchProvider, body: bytes) -> None:
    with pytest.raises(AnswerUnusable, match="its answer"):
        provider.hits(body)


@pytest.mark.parametrize("provider", [SEARXNG, TAVILY])
def test_entries_of_another_shape_are_left_out(provider: SearchProvider) -> None:
    entries = [
        None,
        3,
        "x",
        {},
        {"url": 5},
        {"url": "https://a.example/", "title": None, "content": ["x"]},
        {"url": "file:///etc/passwd", "title": "t"},
    ]
    assert provider.hits(json.dumps({"results": entries}).encode()) == [Hit("https://a.example/", "https://a.example/", "")]


def test_titles_and_snippets_are_bounded() -> None:
    hits = SEARXNG.hits(json.dumps({"results": [{"url": "https://a.example/", "title": "t" * 10_000, "content": "长" * 10_000}]}).encode())
    assert (len(hits[0].title), len(hits[0].snippet)) == (150, 300)


def test_brave_without_a_web_section_found_nothing() -> None:
    assert BRAVE.hits(b'{"type": "search", "query": {}}') == []


def test_searxng_without_results_and_without_its_engines_has_failed() -> None:
    with pytest.raises(AnswerUnusable, match="2 of its engines"):
        SEARXNG.hits(json.dumps({"results": [], "unresponsive_engines": [["google", "captcha"], ["bing", "timeout"]]}).encode())
    assert SEARXNG.hits(b'{"results": [], "unresponsive_engines": []}') == []
