"""``web_fetch`` keeps the promises of every tool."""

from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from tandem.egress import GuardedClient
from tandem.ports import Tool
from tandem.settings import EgressSettings
from tandem.telemetry import SystemClock
from tandem.testing.suites.tool import ToolConformance
from tandem.testing.web import Page, served_pages
from tools.web.fetch import WebFetch
from tools.web.pages import Pages
from tools.web.retrieval import Retrieval
from tools.wrappers import guarded


class TestWebFetch(ToolConformance):
    @pytest.fixture
    async def tool(self) -> AsyncIterator[Tool]:
        pages = Pages(Retrieval(GuardedClient(EgressSettings(allow=["127.0.0.1"])), SystemClock()), SystemClock())
        yield guarded(WebFetch(pages))
        await pages.close()

    @pytest.fixture
    async def good_arguments(self) -> AsyncIterator[dict[str, JsonValue]]:
        async with served_pages({"/": Page("<title>Lake</title><p>The lake is 12 metres deep.</p>")}) as site:
            yield {"url": f"{site.url}/", "max_chars": 500, "links": True}
