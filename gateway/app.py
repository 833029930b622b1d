"""The gateway as one ASGI callable: the hot path in front, everything else through FastAPI, around both what every request needs.

Order for every door: a request id, who calls, the body within its limits, the door; whatever breaks is answered in the one shape. Only pure ASGI
middleware is used: ``BaseHTTPMiddleware`` costs more than the whole hot path (measured, see the benchmark's notes). A door cannot forget to
authenticate: all but the paths in ``PUBLIC_PATHS`` are refused without a key before they are looked up.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway.asgi import ASGIApp, Message, Receive, Scope, Send, header, send_whole
from gateway.auth import PRINCIPAL_KEY, Principal
from gateway.chat.checked import CheckedLane
from gateway.chat.door import PATH, ChatDoor
from gateway.dependencies import BufferedRandom, Dependencies, Services
from gateway.errors import error_answer, http_fault, invalid
from gateway.limits import ClientGone, check_depth, read_body
from gateway.records import LANE_KEY, Door, Finished
from gateway.responses import routes as responses
from gateway.routes import (
    artifacts,
    audit,
    evidence,
    feedback,
    files,
    health,
    inputs,
    job_changes,
    jobs,
    keys,
    labels,
    memories,
    models,
    operations,
    policies,
    questions,
    routing,
    schedules,
    threads,
    tools,
    traces,
    webhook_deliveries,
    webhooks,
)
from gateway.uploads import PATH as UPLOADS_PATH
from gateway.uploads import UploadRoom, bounded
from tandem.errors import InternalError, TandemError
from tandem.settings import Settings
from tandem.telemetry import bind, get_logger

PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz"})
METRICS_PATH: Final = "/metrics"
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_DOORS: Final[dict[str, Door]] = {
    "jobs": "jobs",
    "files": "files",
    "memory": "memory",
    "audit": "audit",
    "tools": "tools",
    "threads": "threads",
    "models": "models",
    "keys": "keys",
    "operations": "operations",
    "responses": "responses",
    "schedules": "schedules",
    "webhook_endpoints": "webhooks",
    "webhook_deliveries": "webhooks",
    "router": "decide",
    "systemone": "questions",
    "decisions": "questions",
    "feedback": "feedback",
    "healthz": "health",
    "readyz": "health",
    "metrics": "health",
}
_log = get_logger(__name__)


def create_app(settings: Settings, dependencies: Dependencies) -> "Gateway":
    """The whole gateway. Opens nothing until the server's lifespan begins."""
    services = Services(settings, dependencies)
    api = create_api()
    api.state.services = services
    api.state.uploads = UploadRoom()
    return Gateway(services, cast("ASGIApp", api), settings)


def create_api() -> FastAPI:
    """The framework's doors; also what ``openapi.json`` is made from."""
    api = FastAPI(title="Tandem", version="1", lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    for part in (
        jobs,
        job_changes,
        inputs,
        artifacts,
        files,
        memories,
        audit,
        traces,
        schedules,
        webhooks,
        webhook_deliveries,
        threads,
        models,
        keys,
        routing,
        questions,
        policies,
        evidence,
        labels,
        feedback,
        operations,
        responses,
        tools,
        health,
    ):
        api.include_router(part.doors)
    api.add_exception_handler(TandemError, _answer_error)
    api.add_exception_handler(RequestValidationError, _answer_error)
    api.add_exception_handler(HTTPException, _answer_error)
    api.add_exception_handler(Exception, _answer_error)  # the framework's own answer would be plain text; it raises on, so _serve logs
    return api


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncGenerator[None]:
    services = cast("Services", api.state.services)
    try:
        await services.start()
        yield
    finally:
        await services.close()


async def _answer_error(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        error = invalid(error.errors())
    elif isinstance(error, HTTPException):
        error = http_fault(error.status_code, request.method, request.url.path, error.headers)
    elif not isinstance(error, TandemError):
        error = InternalError("unexpected")
    status, headers, body = error_answer(error)
    response = Response(body, status)
    response.raw_headers[:0] = headers
    request.scope["tandem.error_code"] = error.code
    return response


class Gateway:
    """What stands around every door."""

    def __init__(self, services: Services, api: ASGIApp, settings: Settings) -> None:
        self.services = services
        self._api = api
        self._settings = settings
        self._door: ChatDoor | None = None
        self._random_bytes = BufferedRandom()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request_id = self._random_bytes(8).hex()
            if scope["path"] == PATH and scope["method"] == "POST":
                await self._chat_door()(scope, receive, send, request_id)
            else:
                await self._serve(scope, receive, send, request_id)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """FastAPI's lifespan starts and closes the services; the hot path's connections end with it."""
        try:
            await self._api(scope, receive, send)
        finally:
            if self._door:
                await self._door.transport.close()

    def _chat_door(self) -> ChatDoor:
        """Made at the first request, because its connections belong to the running loop."""
        if self._door is None:
            services = self.services
            fast_name, transport, slow = services.dependencies.fast_name, services.dependencies.open_transport(), services.slow_lane()
            self._door = ChatDoor(
                settings=self._settings.gateway,
                authenticator=services.authenticator,
                in_flight=services.in_flight,
                routing=services.routing,
                recorder=services.recorder,
                served=services.served,
                fast_model=fast_name,
                context_tokens=self._settings.fast.context_tokens,
                transport=transport,
                slow=slow,
                checked=CheckedLane(transport, fast_name, services.checks, slow),
            )
        return self._door

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        exchange = _Exchange(send, request_id)
        with bind(request_id=request_id):
            try:
                await self._enter(scope, receive, exchange)
            except TandemError as error:
                await exchange.refuse(error)
            except ClientGone:
                pass
            except Exception:  # noqa: BLE001 - the process boundary: whatever broke is logged with its traceback and answered in the one shape
                _log.exception("request_failed", path=scope["path"], method=scope["method"])
                await exchange.refuse(InternalError("unexpected"))
        self.services.recorder.finish(exchange.finished(scope))

    async def _enter(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        path: str = scope["path"]
        if path == METRICS_PATH and not self._settings.is_loopback_only:
            (await self._authenticate(scope)).require("admin")
        elif path not in PUBLIC_PATHS and path != METRICS_PATH:
            scope[PRINCIPAL_KEY] = await self._authenticate(scope)
        if path == PATH:
            raise http_fault(405, scope["method"], path, {"allow": "POST"})
        if scope["method"] in _BODY_METHODS:
            receive = await self._bounded(scope, receive)
        await self._api(scope, receive, exchange.send)

    async def _authenticate(self, scope: Scope) -> Principal:
        return await self.services.authenticator.authenticate(header(scope, b"authorization"))

    async def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """The body, read within its limits, to be received again by the framework; an upload is read by its door, piece by piece."""
        if scope["method"] == "POST" and scope["path"] == UPLOADS_PATH:
            return bounded(scope, receive, self._settings.tools.max_file_bytes)
        gateway = self._settings.gateway
        body = await read_body(scope, receive, gateway.max_body_bytes)
        check_depth(body, gateway.max_depth)
        first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        return replay


class _Exchange:
    """Sends an answer and remembers what the records need of it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._started = time.monotonic()
        self._status = 0
        self._error_code: str | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id.encode())]
        await self._send(message)

    async def refuse(self, error: TandemError) -> None:
        """Answer the error, unless an answer has begun: then the connection just ends."""
        self._error_code = error.code
        if not self._status:
            status, headers, body = error_answer(error)
            await send_whole(self.send, status, headers, body)

    def finished(self, scope: Scope) -> Finished:
        parts = scope["path"].split("/")
        place = parts[2] if len(parts) > 2 and parts[1] == "v1" else parts[1]
        principal = cast("Principal | None", scope.get(PRINCIPAL_KEY))
        return Finished(
            door=_DOORS.get(place, "other"),
            method=scope["method"],
            status=self._status or 499,
            seconds=time.monotonic() - self._started,
            request_id=self._request_id,
            tenant=principal.tenant if principal else None,
            lane=scope.get(LANE_KEY),
            error_code=self._error_code or scope.get("tandem.error_code"),
        )
