"""``web_fetch`` over a loopback site: what a page becomes, and what each failure tells the model."""

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Mapping
from io import BytesIO

import pytest
import pytest_asyncio
from pydantic import JsonValue
from pypdf import PdfWriter

from tandem.egress import GuardedClient
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.schemas.tools import ToolFault, ToolResult
from tandem.settings import EgressSettings, Settings
from tandem.testing.clock import FakeClock
from tandem.testing.documents import pdf_of
from tandem.testing.web import Page, Site, served_pages
from tandem.testing.web import Pages as SitePages
from tools.base import fitting
from tools.confined.warm import WarmConfinement
from tools.offers import Supplies
from tools.web.fetch import SPEC, WebFetch, offer
from tools.web.pages import MAX_PAGE_BYTES, Pages, reading_confinement
from tools.web.retrieval import PER_HOST, Retrieval
from tools.wrappers import guarded

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENT = GuardedClient(EgressSettings(allow=["127.0.0.1"], timeout_s=20))
CONTEXT = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1")
OTHER_JOB = ToolContext(tenant=TenantId("t"), job_id=JobId("job_2"), call_id="c1")
WELL = Page("<html><head><title>Lake</title></head><body><p>The lake is 12 metres deep.</p><a href='/boats?utm_source=x'>Boats</a></body></html>")
LONG = Page("<title>Days</title>" + "".join(f"<p>Paragraph {n} tells of the weather on day {n}, which was mild.</p>" for n in range(300)))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reading() -> AsyncIterator[WarmConfinement]:
    """One for all tests: it imports its parsers once."""
    confinement = reading_confinement()
    yield confinement
    await confinement.close()


@pytest.fixture
def tool(clock: FakeClock, reading: WarmConfinement) -> Tool:
    return guarded(WebFetch(Pages(Retrieval(CLIENT, clock), clock, reading)))


async def fetch(tool: Tool, site: Site, path: str = "/", context: ToolContext = CONTEXT, **arguments: JsonValue) -> ToolResult:
    return await tool.run({"url": f"{site.url}{path}", **arguments}, context)


async def fault(tool: Tool, pages: SitePages) -> ToolFault:
    async with served_pages(pages) as site:
        result = await fetch(tool, site)
    assert not result.ok
    assert result.error is not None
    return result.error


def output(result: ToolResult) -> Mapping[str, JsonValue]:
    assert isinstance(result.output, dict), result.error
    return result.output


async def test_a_page_comes_with_its_title_its_links_and_a_citation(tool: Tool) -> None:
    async with served_pages({"/": WELL}) as site:
        result = await fetch(tool, site)

        assert output(result) == {"url": f"{site.url}/", "title": "Lake", "text": "The lake is 12 metres deep.\n\nBoats"}
        assert result.links == [f"{site.url}/boats"]
        assert [(each.source, each.title) for each in result.citations] == [(f"{site.url}/", "Lake")]
        assert not result.is_truncated
        assert site.requests[0].headers["user-agent"] == "Mozilla/5.0 (compatible; Tandem/1)"


async def test_links_are_shown_only_when_asked_for(tool: Tool) -> None:
    async with served_pages({"/": WELL}) as site:
        assert output(await fetch(tool, site, links=True))["links"] == [{"text": "Boats", "url": f"{site.url}/boats"}]


async def test_a_long_page_is_read_in_parts_that_join_and_is_fetched_once(tool: Tool) -> None:
    async with served_pages({"/": LONG}) as site:
        first = await fetch(tool, site)
        parts, seen = [str(output(first)["text"])], output(first)
        while (following := seen.get("next_start")) is not None:
            seen = output(await fetch(tool, site, start=following))
            parts.append(str(seen["text"]))
        beyond = await fetch(tool, site, start=10**6)

    text = "".join(parts)
    assert first.is_truncated
    assert len(text) == output(first)["total_chars"]
    assert all(f"weather on day {n}," in text for n in range(300))
    assert len(site.requests) == 1
    assert beyond.error is not None
    assert beyond.error.code == "invalid_arguments"


async def test_no_part_is_longer_than_the_tool_may_answer(tool: Tool) -> None:
    chinese = Page("<title>长</title>" + "<p>大熊猫主要栖息在四川、陕西和甘肃的山区里。</p>" * 2_000 + "<a href='/很长'>链接</a>" * 100)
    async with served_pages({"/": chinese}) as site:
        asked: list[dict[str, JsonValue]] = [{}, {"max_chars": 12_000}, {"max_chars": 12_000, "links": True}, {"find": "四川", "max_chars": 12_000}]
        for arguments in asked:
            result = await tool.run({"url": f"{site.url}/", **arguments}, CONTEXT)
            text = json.dumps(output(result), ensure_ascii=False)
            assert fitting(text, SPEC) == text


async def test_passages_about_something_are_quoted_letter_by_letter(tool: Tool) -> None:
    page = Page(f"{LONG.body}<p>The volcano erupted in 1883.</p><p>火山在1883年爆发。</p>")
    async with served_pages({"/": page}) as site:
        result = await fetch(tool, site, find="volcano 火山")
        nothing = await fetch(tool, site, find="chromodynamics")

    assert any("The volcano erupted in 1883." in each.quote and each.start is not None for each in result.citations)
    assert "火山在1883年爆发。" in json.dumps(result.output, ensure_ascii=False)
    assert nothing.error is not None
    assert (nothing.error.code, nothing.error.retryable) == ("not_found", False)


async def test_another_job_never_gets_what_one_has_read(tool: Tool, clock: FakeClock) -> None:
    async with served_pages({"/": (LONG, WELL)}) as site:
        await fetch(tool, site)
        other = await fetch(tool, site, context=OTHER_JOB, find="lake")
        clock.advance(301)
        stale = await fetch(tool, site, find="lake")

    assert output(other)["title"] == output(stale)["title"] == "Lake"


async def test_a_redirect_is_followed_and_the_final_address_named(tool: Tool) -> None:
    async with served_pages({"/": Page(status=302, headers={"Location": "/new"}), "/new": WELL}) as site:
        assert output(await fetch(tool, site))["url"] == f"{site.url}/new"


@pytest.mark.parametrize(
    ("page", "code", "retryable"),
    [
        (Page(status=404), "not_found", False),
        (Page(status=410), "not_found", False),
        (Page(status=401), "access_refused", False),
        (Page(status=403), "access_refused", False),
        (Page(status=418), "http_error", False),
        (Page(status=500), "site_busy", True),
        (Page(status=302, headers={"Location": "/"}), "unreachable", True),
        (Page(status=302, headers={"Location": "http://169.254.169.254/latest/"}), "egress_denied", False),
        (Page(status=302, headers={"Location": "file:///etc/passwd"}), "egress_denied", False),
        (Page("<script src=a.js></script><div id=root></div>"), "empty_page", False),
        (Page(""), "empty_page", False),
        (Page(b"\x89PNG\r\n\x1a\n", "image/png"), "unsupported_content", False),
        (Page(b"\x89PNG\r\n\x1a\n", "text/html"), "unsupported_content", False),
        (Page(b"<p>x</p>", "application/octet-stream"), "unsupported_content", False),
        (Page(b"%PDF-1.7 broken", "application/pdf"), "unreadable", False),
        (Page(b"not gzip", headers={"Content-Encoding": "gzip"}), "unreachable", True),
        (Page(gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), headers={"Content-Encoding": "gzip, gzip"}), "unreachable", True),
        (Page(b"x", headers={"Content-Encoding": "br"}), "unreachable", True),
    ],
)
async def test_each_failure_has_its_code_and_says_what_to_do(tool: Tool, page: Page, code: str, retryable: bool) -> None:
    error = await fault(tool, {"/": page})

    assert (error.code, error.retryable) == (code, retryable), error.message
    assert any(word in error.message for word in ("use ", "check", "look for", "only public"))


@pytest.mark.parametrize("page", [Page(is_silent=True), Page("x", is_dripping=True)], ids=["silent", "dripping"])
async def test_a_site_that_takes_for_ever_is_given_up(page: Page, clock: FakeClock, reading: WarmConfinement) -> None:
    hasty = GuardedClient(EgressSettings(allow=["127.0.0.1"], timeout_s=0.3))
    error = await fault(guarded(WebFetch(Pages(Retrieval(hasty, clock), clock, reading))), {"/": page})

    assert (error.code, error.retryable) == ("timeout", True)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "file:///etc/passwd", "https://user:pw@example.com/", "example.com", "http://[::1]/", "x" * 3000]
)
async def test_an_address_that_may_not_be_reached_is_refused(tool: Tool, url: str) -> None:
    result = await tool.run({"url": url}, CONTEXT)

    assert result.error is not None
    assert result.error.code in {"egress_denied", "invalid_arguments"}


async def test_a_site_that_asks_to_wait_a_little_is_asked_once_more(tool: Tool, clock: FakeClock) -> None:
    async with served_pages({"/": (Page(status=429, headers={"Retry-After": "3"}), WELL)}) as site:
        assert (await fetch(tool, site)).ok
    assert clock.sleeps == [3.0]


async def test_a_site_that_asks_to_wait_long_is_not_waited_for(tool: Tool, clock: FakeClock) -> None:
    error = await fault(tool, {"/": Page(status=503, headers={"Retry-After": "600"})})

    assert (error.code, error.retryable, clock.sleeps) == ("site_busy", True, [])
    assert "600 s" in error.message


async def test_a_site_that_stays_busy_is_asked_twice_only(tool: Tool) -> None:
    async with served_pages({"/": Page(status=503)}) as site:
        result = await fetch(tool, site)
    assert result.error is not None
    assert result.error.code == "site_busy"
    assert len(site.requests) == 2


async def test_a_host_is_asked_for_few_pages_at_a_time(tool: Tool) -> None:
    async with served_pages({f"/{n}": WELL for n in range(8)}) as site:
        results = await asyncio.gather(*(fetch(tool, site, f"/{n}") for n in range(8)))

    assert all(result.ok for result in results)
    assert site.most_at_once <= PER_HOST


async def test_a_huge_page_is_read_from_its_beginning_and_says_so(tool: Tool) -> None:
    paragraph = "<p>Paragraph that tells of the weather, which was mild and dry all day long in the valley.</p>"
    async with served_pages({"/": Page(paragraph * 100, endless_bytes=10_000_000)}) as site:
        result = await fetch(tool, site)
        assert site.sent_bytes < 10_000_000

    assert output(result)["notes"] == ["the page is very long; only its beginning was read"]


async def test_a_bomb_is_bounded(tool: Tool) -> None:
    bomb = gzip.compress(b"<p>" + bytes(30_000_000))
    error = await fault(tool, {"/": Page(bomb, headers={"Content-Encoding": "gzip"})})
    assert error.code == "unsupported_content"


async def test_a_chinese_page_in_gbk_that_says_utf_8_is_read(tool: Tool) -> None:
    page = Page("<title>大熊猫</title><meta charset=gbk><p>野生大熊猫约有1864只。</p>".encode("gbk"), "text/html; charset=utf-8")
    async with served_pages({"/大熊猫".encode().decode("latin-1"): page, "/%E5%A4%A7%E7%86%8A%E7%8C%AB": page}) as site:
        result = await fetch(tool, site, "/大熊猫")
    assert output(result)["text"] == "野生大熊猫约有1864只。"


async def test_a_pdf_beyond_the_size_of_a_page_is_fetched_whole(tool: Tool) -> None:
    document = pdf_of(["Pandas of the northern valleys"])
    large_one = _with_attachment(document, MAX_PAGE_BYTES)
    async with served_pages({"/": Page(document, "application/pdf"), "/large": Page(large_one, "application/pdf")}) as site:
        small, large = await fetch(tool, site), await fetch(tool, site, "/large")

    assert "northern valleys" in str(output(small)["text"])
    assert "northern valleys" in str(output(large)["text"])
    assert site.paths == ["/", "/large", "/large"]


async def test_only_the_newest_pages_are_kept(tool: Tool) -> None:
    async with served_pages({f"/{n}": WELL for n in range(17)}) as site:
        for n in range(17):
            await fetch(tool, site, f"/{n}")
        await fetch(tool, site, "/16", find="lake")
        await fetch(tool, site, "/0", find="lake")

    assert site.paths.count("/16") == 1
    assert site.paths.count("/0") == 2


async def test_it_is_offered_everywhere_and_starts_no_process_by_itself() -> None:
    (offered,) = await offer(Supplies(Settings(), CLIENT, IdFactory(lambda: 0)))

    assert offered.tool is not None
    assert offered.close is not None
    await offered.close()


def _with_attachment(document: bytes, size: int) -> bytes:
    writer = PdfWriter(clone_from=BytesIO(document))
    writer.add_attachment("noise", os.urandom(size))
    written = BytesIO()
    writer.write(written)
    return written.getvalue()
