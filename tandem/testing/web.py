"""A small web on a loopback port: pages as a test or a demonstration wants them, and a SearXNG endpoint that finds among them.

Answers plain HTTP/1.1, one request per connection. Knows nothing of the tools that read it.
"""

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from html import unescape
from typing import Final
from urllib.parse import parse_qs, urlsplit

_DRIP_S: Final = 0.05
_CHUNK: Final = 65_536
_SEARCH_PATH: Final = "/searxng/search"
_MOST_HITS: Final = 20
_WORD: Final = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]")
_MARKUP: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.DOTALL | re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the site."""

    body: str | bytes = ""
    """Text is sent as UTF-8."""
    content_type: str | None = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    is_silent: bool = False
    """Takes the request and says nothing until the client hangs up."""
    is_dripping: bool = False
    """Sends the head, then a byte of the body at a time, again and again."""
    endless_bytes: int = 0
    """Sends the body so often that at least so many bytes have gone, as far as the client takes them."""

    @property
    def content(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else self.body


Pages = Mapping[str, Page | Sequence[Page]]
"""By path, with the query where it matters (``/p?page=2`` is looked for before ``/p``); of several the last one stays."""


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """One request as it came."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


class Site:
    """Serves ``pages`` and keeps what it was asked; a path it does not know is 404."""

    def __init__(self, pages: Pages) -> None:
        self.pages: dict[str, Page | Sequence[Page]] = dict(pages)
        self.requests: list[SiteRequest] = []
        self.most_at_once = 0
        self.sent_bytes = 0
        self.host = "127.0.0.1"
        self.port = 0
        self._served: Counter[str] = Counter()
        self._running = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def searxng_url(self) -> str:
        """The base of a SearXNG instance that knows the HTML and text pages of this site."""
        return f"{self.url}/searxng"

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.path for request in self.requests]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections; those that are open end by themselves."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                request = await _received(reader)
                self.requests.append(request)
                await self._answer(self._page(request), request, reader, writer)
        finally:
            self._running -= 1
            writer.close()

    def _page(self, request: SiteRequest) -> Page:
        for key in (request.target, request.path):
            if (found := self.pages.get(key)) is not None:
                if isinstance(found, Page):
                    return found
                self._served[key] += 1
                return found[min(self._served[key], len(found)) - 1]
        if request.path == _SEARCH_PATH:
            return self._search(request)
        return Page("<title>404</title><p>There is no such page.</p>", status=404)

    async def _answer(self, page: Page, request: SiteRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if page.is_silent:
            await reader.read()
            return
        content = page.content
        repeats = max(1, -(-page.endless_bytes // max(1, len(content))))
        lines = [f"HTTP/1.1 {page.status} Served", "Connection: close"]
        if page.content_type is not None:
            lines.append(f"Content-Type: {page.content_type}")
        if not page.is_dripping:
            lines.append(f"Content-Length: {len(content) * repeats}")
        lines += [f"{name}: {value}" for name, value in page.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if request.method == "HEAD":
            return
        if page.is_dripping:
            await self._drip(content or b".", reader, writer)
        for _ in range(repeats):
            for start in range(0, len(content), _CHUNK):
                writer.write(content[start : start + _CHUNK])
                await writer.drain()
                self.sent_bytes += len(content[start : start + _CHUNK])
        await writer.drain()

    async def _drip(self, content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            for byte in content:
                writer.write(bytes([byte]))
                await writer.drain()
                self.sent_bytes += 1
                await asyncio.sleep(_DRIP_S)

    def _search(self, request: SiteRequest) -> Page:
        asked = parse_qs(urlsplit(request.target).query or request.body.decode())
        if asked.get("format") != ["json"]:
            return Page("<title>403</title>", status=403)
        wanted = set(_WORD.findall(asked.get("q", [""])[0].lower()))
        hits = [hit for path, page in self.pages.items() if (hit := _hit(f"{self.url}{path}", page, wanted)) is not None]
        hits.sort(key=lambda hit: -float(str(hit["score"])))
        return Page(json.dumps({"query": asked.get("q", [""])[0], "results": hits[:_MOST_HITS]}, ensure_ascii=False), "application/json")


async def _received(reader: asyncio.StreamReader) -> SiteRequest:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    return SiteRequest(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _hit(url: str, page: Page | Sequence[Page], wanted: set[str]) -> dict[str, object] | None:
    """A page as SearXNG lists it, when it holds one of the words; a word of the title counts three times."""
    shown = page if isinstance(page, Page) else page[-1]
    if shown.status != 200 or not (shown.content_type or "").startswith("text/"):
        return None
    source = shown.content.decode("utf-8", "replace")
    found = _TITLE.search(source)
    title = unescape(found[1]).strip() if found else url
    text = " ".join(unescape(_MARKUP.sub(" ", source)).split())
    words = Counter(_WORD.findall(text.lower()))
    score = sum(min(words[word], 5) + 3 * (word in _WORD.findall(title.lower())) for word in wanted)
    if score == 0:
        return None
    return {"url": url, "title": title, "content": text[:200], "engine": "site", "score": score}


@asynccontextmanager
async def served_pages(pages: Pages) -> AsyncGenerator[Site]:
    """A site on a free port of 127.0.0.1, which has to be in ``egress.allow`` for our tools to reach it."""
    site = Site(pages)
    await site.start()
    try:
        yield site
    finally:
        await site.stop()


@contextmanager
def pages_served_aside(pages: Pages) -> Generator[Site]:
    """The same in a thread of its own, for code that runs no event loop."""
    site = Site(pages)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(site.start(), loop).result()
        yield site
    finally:
        asyncio.run_coroutine_threadsafe(_wind_up(site), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _wind_up(site: Site) -> None:
    await site.stop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


__all__ = ["Page", "Pages", "Site", "SiteRequest", "pages_served_aside", "served_pages"]
