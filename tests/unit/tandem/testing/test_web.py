"""The small web of the tests: what it serves, what it finds, what it keeps."""

import asyncio
import json
from urllib.parse import quote

from tandem.testing.web import Page, Site, pages_served_aside, served_pages


async def get(site: Site, target: str) -> tuple[str, bytes]:
    """Status line and body."""
    reader, writer = await asyncio.open_connection(site.host, site.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode("latin-1").split("\r\n")[0], body


async def test_a_page_is_served_as_it_is_and_another_path_is_404() -> None:
    async with served_pages({"/a": Page("<p>你好</p>")}) as site:
        assert await get(site, "/a") == ("HTTP/1.1 200 Served", "<p>你好</p>".encode())
        assert (await get(site, "/b"))[0] == "HTTP/1.1 404 Served"
        assert site.paths == ["/a", "/b"]


async def test_of_several_answers_the_last_one_stays() -> None:
    async with served_pages({"/a": (Page(status=503), Page("well"))}) as site:
        assert [(await get(site, "/a"))[0][9:12] for _ in range(3)] == ["503", "200", "200"]


async def test_the_query_chooses_a_page_where_the_site_has_one_for_it() -> None:
    async with served_pages({"/a": Page("one"), "/a?page=2": Page("two")}) as site:
        assert [(await get(site, target))[1] for target in ("/a", "/a?page=1", "/a?page=2")] == [b"one", b"one", b"two"]


async def test_its_search_finds_english_and_chinese_pages_and_the_best_first() -> None:
    pages = {
        "/cats": Page("<title>Cats</title><p>Cats sleep.</p>"),
        "/dogs": Page("<title>Dogs</title><p>Dogs chase cats.</p>"),
        "/mao": Page("<title>猫的历史</title><p>猫睡觉。</p>"),
    }
    async with served_pages(pages) as site:
        _, english = await get(site, "/searxng/search?format=json&q=cats")
        _, chinese = await get(site, f"/searxng/search?format=json&q={quote('猫')}")

    assert [hit["title"] for hit in json.loads(english)["results"]] == ["Cats", "Dogs"]
    assert [hit["url"] for hit in json.loads(chinese)["results"]] == [f"{site.url}/mao"]


def test_it_serves_aside_from_a_thread() -> None:
    with pages_served_aside({"/a": Page("well")}) as site:
        assert asyncio.run(get(site, "/a"))[1] == b"well"
