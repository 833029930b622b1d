"""The routes between browser and gateway, with a gateway that is a function."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import FrameType

import httpx
import pytest
from starlette.applications import Starlette

from tandem.settings import Settings, UiSettings
from ui.proxy import Relay
from ui.stopping import called_on_exit_signal

Handler = Callable[[httpx.Request], httpx.Response]
PAGES = "http://127.0.0.1:8501"


def browser(handler: Handler, tmp_path: Path, base_url: str = PAGES) -> httpx.AsyncClient:
    settings = Settings(home=tmp_path, ui=UiSettings.model_validate({"api_key": "tdm_secret"}))
    app = Starlette(routes=Relay(settings, httpx.MockTransport(handler)).routes())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url)


def recording(seen: list[httpx.Request], answer: httpx.Response) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer

    return handle


async def test_a_command_from_the_pages_reaches_the_gateway_with_the_key(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    async with browser(recording(seen, httpx.Response(200, json={"id": "job_1"})), tmp_path) as page:
        answer = await page.post("/ui/jobs/job_1/cancel", headers={"origin": PAGES})
    assert answer.json() == {"id": "job_1"}
    assert seen[0].url.path == "/v1/jobs/job_1/cancel"
    assert seen[0].headers["authorization"] == "Bearer tdm_secret"
    assert "tdm_secret" not in answer.text + str(answer.headers)


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"}])
async def test_a_command_from_elsewhere_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    seen: list[httpx.Request] = []
    async with browser(recording(seen, httpx.Response(200)), tmp_path) as page:
        for path in ("/ui/jobs/job_1/cancel", "/ui/threads/thr_1/turns/trn_1/cancel"):
            assert (await page.post(path, headers=headers)).status_code == 403
    assert seen == []


async def test_a_foreign_name_pointed_at_loopback_is_refused(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    async with browser(recording(seen, httpx.Response(200)), tmp_path, "http://rebound.example:8501") as page:
        assert (await page.get("/ui/events?thread=thr_1")).status_code == 403
        assert (await page.post("/ui/jobs/j/cancel", headers={"origin": "http://rebound.example:8501"})).status_code == 403
    assert seen == []


async def test_the_browsers_newer_cursor_wins_over_the_url(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    async with browser(recording(seen, httpx.Response(200, content=b"id: 9\n\n")), tmp_path) as page:
        answer = await page.get("/ui/events?thread=thr_1&after=3", headers={"last-event-id": "8"})
        await page.get("/ui/events?thread=thr_1&after=3")
    assert [request.url.params["after"] for request in seen] == ["8", "3"]
    assert answer.content == b"id: 9\n\n"
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"


async def test_an_id_cannot_leave_its_door(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    async with browser(recording(seen, httpx.Response(404, json={})), tmp_path) as page:
        await page.get("/ui/events", params={"thread": "../keys"})
    assert seen[0].url.raw_path.startswith(b"/v1/threads/..%2Fkeys/events")


async def test_the_gateways_refusal_is_passed_on(tmp_path: Path) -> None:
    async with browser(lambda _: httpx.Response(404, json={"error": "gone"}), tmp_path) as page:
        assert (await page.get("/ui/events?thread=thr_1")).status_code == 404


async def test_an_absent_gateway_is_a_502_of_the_one_shape(tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with browser(refuse, tmp_path) as page:
        for answer in (await page.get("/ui/events?thread=t"), await page.post("/ui/jobs/j/cancel", headers={"origin": PAGES})):
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "gateway_unreachable"


async def test_a_stream_that_breaks_ends_for_the_browser_and_is_closed(tmp_path: Path) -> None:
    upstream = Breaking()
    async with browser(lambda _: httpx.Response(200, stream=upstream), tmp_path) as page:
        assert (await page.get("/ui/events?thread=t")).content == b"id: 1\ndata: x\n\n"
    assert upstream.is_closed


async def test_the_end_of_the_process_ends_open_streams(tmp_path: Path) -> None:
    upstream = Silent()
    relay = Relay(Settings(home=tmp_path), httpx.MockTransport(lambda _: httpx.Response(200, stream=upstream)))
    transport = httpx.ASGITransport(Starlette(routes=relay.routes()))
    async with httpx.AsyncClient(transport=transport, base_url=PAGES) as page:
        reading = asyncio.create_task(page.get("/ui/events?thread=t"))
        await upstream.is_read.wait()
        relay.stop()
        assert (await reading).content == b": ping\n\n"
    assert upstream.is_closed


async def test_an_exit_signal_reaches_us_and_whoever_came_before() -> None:
    heard: list[str] = []
    called = asyncio.Event()

    def server(number: int, frame: FrameType | None) -> None:
        heard.append("server")

    before = signal.signal(signal.SIGTERM, server)
    try:
        with called_on_exit_signal(called.set):
            signal.raise_signal(signal.SIGTERM)
            await called.wait()
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["server", "server"]


class Silent(httpx.AsyncByteStream):
    """Sends one comment, then nothing, for ever."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b": ping\n\n"
        self.is_read.set()
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.is_closed = True


class Breaking(httpx.AsyncByteStream):
    is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"id: 1\ndata: x\n\n"
        raise httpx.ReadError("broken")

    async def aclose(self) -> None:
        self.is_closed = True
