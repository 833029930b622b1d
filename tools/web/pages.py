"""Pages as text: fetched, read in a child process, and kept for a few minutes so that reading on shows the same page.

Parsing costs the worker no memory beyond the page's bytes and its text; a page that makes a parser fail costs a child process.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final, cast

from tandem.egress import Response
from tandem.ports import Clock
from tools.confined.process import Confinement
from tools.confined.warm import WarmConfinement
from tools.confined.work import Limits, WorkRefused
from tools.documents.parsing import extract
from tools.web.media import charset_of, kind_of
from tools.web.retrieval import Retrieval

MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
MAX_PDF_BYTES: Final = 16 * 1024 * 1024
READING: Final = Limits(seconds=10.0, memory_bytes=768 * 1024 * 1024, output_bytes=4 * 1024 * 1024)
_MAX_PDF_CHARS: Final = 400_000
_KEPT: Final = 16
_KEPT_S: Final = 300.0

Reader = tuple[str, str]
"""Who reads: tenant and job. What one of them fetched is never shown to another."""


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page as it was read."""

    url: str
    """Where it came from in the end."""
    text: str
    title: str = ""
    author: str = ""
    date: str = ""
    links: tuple[tuple[str, str], ...] = ()
    """Label and address."""
    notes: tuple[str, ...] = ()
    """What a reader of the text should know."""


def reading_confinement() -> WarmConfinement:
    """The child processes that read pages, one at a time: a worker process runs one job, and a second nest would take 65 MB and a second to start."""
    return WarmConfinement("tools.web.reading", READING, slots=1)


class Pages:
    """Reads pages; whoever made it closes it."""

    def __init__(self, retrieval: Retrieval, clock: Clock, reading: WarmConfinement | None = None) -> None:
        self._retrieval = retrieval
        self._clock = clock
        self._reading = reading or reading_confinement()
        self._documents = Confinement(slots=1)
        self._kept: OrderedDict[tuple[Reader, str], tuple[float, WebPage]] = OrderedDict()

    async def close(self) -> None:
        """End the child processes."""
        await self._reading.close()

    async def read(self, url: str, reader: Reader, *, is_known: bool, may_leave_host: bool = True) -> WebPage:
        """The page; where ``is_known``, the one this reader read a little while ago, if that is so.

        Raises:
            FetchFailed: The address gave no page.
            WorkRefused: It gave one that cannot be read.
        """
        if is_known and (kept := self._recall(url, reader)) is not None:
            return kept
        # It imports its parsers while the network is waited for.
        await self._reading.warm()
        page = await self._read(url, may_leave_host=may_leave_host)
        self._keep(url, reader, page)
        return page

    async def _read(self, url: str, *, may_leave_host: bool) -> WebPage:
        response = await self._retrieval.get(url, MAX_PAGE_BYTES, may_leave_host=may_leave_host)
        kind = kind_of(response.headers.get("content-type"), response.body)
        if kind == "pdf":
            return await self._pdf(url, response, may_leave_host=may_leave_host)
        request = {"kind": kind, "charset": charset_of(response.headers.get("content-type")), "url": response.url}
        try:
            done = await self._reading.run(request, [response.body])
        except WorkRefused as error:
            raise _for_a_page(error) from None
        facts = done.answer
        links = cast("list[list[str]]", facts["links"])
        page = WebPage(
            response.url, done.part.decode("utf-8"), str(facts["title"]), str(facts["author"]), str(facts["date"]), tuple((a, b) for a, b in links)
        )
        if response.is_truncated or facts["is_cut"]:
            page = replace(page, notes=("the page is very long; only its beginning was read",))
        return page

    async def _pdf(self, url: str, response: Response, *, may_leave_host: bool) -> WebPage:
        if response.is_truncated:
            # A PDF begins at its end: half of one cannot be read.
            response = await self._retrieval.get(url, MAX_PDF_BYTES, may_leave_host=may_leave_host)
        try:
            read = await extract("page.pdf", "application/pdf", response.body, self._documents)
        except WorkRefused as error:
            raise _for_a_page(error) from None
        cut = ("the document is very long; only its beginning was read",) if read.is_truncated or len(read.text) > _MAX_PDF_CHARS else ()
        return WebPage(response.url, read.text[:_MAX_PDF_CHARS], notes=(*read.notes, *cut))

    def _recall(self, url: str, reader: Reader) -> WebPage | None:
        read_at, page = self._kept.get((reader, url), (0.0, None))
        return page if page is not None and self._clock.monotonic() - read_at <= _KEPT_S else None

    def _keep(self, url: str, reader: Reader, page: WebPage) -> None:
        self._kept[reader, url] = self._clock.monotonic(), page
        self._kept.move_to_end((reader, url))
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


def _for_a_page(error: WorkRefused) -> WorkRefused:
    """The remedies of files are none for pages, which nobody here can make smaller or mend."""
    if error.code in {"empty_page", "unsupported_content"}:
        return error
    return WorkRefused(error.code, f"the page cannot be read: {error.message.partition(';')[0]}; use another page with the content")
