"""Same-origin routes for the browser: the thread's event stream and the commands of the live component.

The API key is added here and never reaches a browser. Covered: a page of another site cannot give commands (``Origin``), and no foreign name can be
pointed at pages that listen on loopback (``Host``). Not covered: who sits at the browser; the pages have no sign-in of their own.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, urlsplit

import httpx
import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from tandem.client.http import Door
from tandem.client.streams import SILENCE_LIMIT_S
from tandem.settings import Settings
from tandem.sse import RESPONSE_HEADERS
from tandem.telemetry.logging import get_logger
from ui.state import gateway_key
from ui.stopping import called_on_exit_signal, until_set

COMMAND_TIMEOUT_S: Final = 15.0
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Relay:
    """Carries bytes between the browser and the gateway."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._http = httpx.AsyncClient(transport=transport, **Door(settings.gateway_url, None).options())
        self._log = get_logger(__name__)
        self._stopping = asyncio.Event()

    def routes(self) -> Sequence[BaseRoute]:
        """Routes to mount beside the script."""
        return [
            Route("/ui/events", self.events, methods=["GET"]),
            Route("/ui/jobs/{job_id}/cancel", self.cancel_job, methods=["POST"]),
            Route("/ui/threads/{thread_id}/turns/{turn_id}/cancel", self.cancel_turn, methods=["POST"]),
        ]

    @asynccontextmanager
    async def lifespan(self, _app: st.App) -> AsyncGenerator[None]:
        """Ends the streams as soon as the process is told to stop, and closes the connections."""
        try:
            with called_on_exit_signal(self.stop):
                yield
        finally:
            await self._http.aclose()

    def stop(self) -> None:
        """End every open stream; the browsers come back by themselves."""
        self._stopping.set()

    async def events(self, request: Request) -> Response:
        """The thread's events from ``after`` on; on a browser's own reconnect its ``Last-Event-ID`` is newer and wins."""
        if not self._is_known_host(request):
            return _refusal("this host name is not one of the pages'")
        after = request.headers.get("last-event-id") or request.query_params.get("after", "-1")
        path = f"/v1/threads/{quote(request.query_params.get('thread', ''), safe='')}/events"
        headers = self._headers() | {"accept": "text/event-stream"}
        outgoing = self._http.build_request("GET", path, params={"after": after}, headers=headers, timeout=httpx.Timeout(SILENCE_LIMIT_S))
        try:
            upstream = await self._http.send(outgoing, stream=True)
        except httpx.HTTPError as error:
            return self._away(error)
        if not upstream.is_success:
            try:
                return Response(await upstream.aread(), upstream.status_code, media_type="application/json")
            finally:
                await upstream.aclose()
        return StreamingResponse(self._pass_on(upstream), headers=RESPONSE_HEADERS)

    async def cancel_job(self, request: Request) -> Response:
        """The gateway's answer to the cancellation of a job."""
        return await self._command(request, f"/v1/jobs/{_part(request, 'job_id')}/cancel")

    async def cancel_turn(self, request: Request) -> Response:
        """The gateway's answer to the cancellation of an answer in flight."""
        return await self._command(request, f"/v1/threads/{_part(request, 'thread_id')}/turns/{_part(request, 'turn_id')}/cancel")

    async def _command(self, request: Request, path: str) -> Response:
        if not (self._is_known_host(request) and _is_same_origin(request)):
            return _refusal("commands are taken from the pages' own address only")
        try:
            answer = await self._http.post(path, headers=self._headers(), timeout=COMMAND_TIMEOUT_S)
        except httpx.HTTPError as error:
            return self._away(error)
        return Response(answer.content, answer.status_code, media_type="application/json")

    async def _pass_on(self, upstream: httpx.Response) -> AsyncGenerator[bytes]:
        """Bytes as they come. A stream that breaks simply ends: the browser resumes by itself."""
        try:
            async for chunk in until_set(upstream.aiter_bytes(), self._stopping):
                yield chunk
        except httpx.HTTPError as error:
            self._log.info("ui.stream_broke", error=type(error).__name__)
        finally:
            await upstream.aclose()

    def _headers(self) -> dict[str, str]:
        key = gateway_key(self._settings)
        return {"authorization": f"Bearer {key}"} if key else {}

    def _is_known_host(self, request: Request) -> bool:
        return self._settings.ui.host not in LOOPBACK_NAMES or request.url.hostname in LOOPBACK_NAMES

    def _away(self, error: httpx.HTTPError) -> Response:
        self._log.warning("ui.gateway_away", error=type(error).__name__)
        detail = {"message": "the gateway does not answer", "type": "server_error", "code": "gateway_unreachable", "param": None}
        return JSONResponse({"error": detail}, status_code=502)


def _is_same_origin(request: Request) -> bool:
    """Browsers send ``Origin`` with every POST; a request without one is not from a page of ours."""
    return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")


def _part(request: Request, name: str) -> str:
    return quote(str(request.path_params[name]), safe="")


def _refusal(reason: str) -> Response:
    return JSONResponse({"error": {"message": reason, "type": "permission_error", "code": "permission_denied", "param": None}}, status_code=403)
