"""The async client: moves bytes for ``calls.py`` and ``streams.py``."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from typing import Self, TypeVar

import httpx

from tandem.client import calls
from tandem.client.calls import Call, read_answer, read_error
from tandem.client.http import Door, request_parts
from tandem.client.streams import ChatPiece, ChatReader, Following
from tandem.errors import TandemError
from tandem.schemas.chat import ChatMessage
from tandem.schemas.events import Event, EventPage
from tandem.schemas.health import Readiness
from tandem.schemas.jobs import Job, JobPage, JobRequest, JobStatus
from tandem.schemas.keys import DEFAULT_SCOPES, ApiKey, CreatedKey, Scope
from tandem.schemas.routing import Decision, Effort, LaneChoice
from tandem.schemas.threads import MessagePage, Thread, ThreadPage, Turn

T = TypeVar("T")


class AsyncTandemClient:
    """Everything a program can ask of a gateway.

    Errors are those of ``tandem/errors.py``, by the server's code; a gateway that is away is ``GatewayUnreachable``.

    Args:
        url: Base address without ``/v1``.
        api_key: Bearer token; none for a gateway that asks for none.
        transport: Another way to carry requests (tests).
        sleep: Waits between two connections of a followed stream.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8700",
        api_key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._door = Door(url, api_key)
        self._http = httpx.AsyncClient(transport=transport, **self._door.options())
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> list[str]:
        """Names that ``chat`` takes."""
        return await self._send(calls.models())

    async def ready(self) -> Readiness:
        """Whether the platform can serve, and what is degraded; also when it is down."""
        return await self._send(calls.ready())

    async def chat(
        self, messages: Sequence[ChatMessage] | str, model: str = "auto", *, stream: bool = True, max_tokens: int | None = None
    ) -> AsyncGenerator[ChatPiece, None]:
        """A reply in pieces; close the iterator to stop it. A slow turn goes on as the job named in the pieces."""
        call = calls.chat(messages, model, stream=stream, max_tokens=max_tokens)
        async with self._open(call) as response:
            reader = ChatReader(response.headers)
            yield reader.opening()
            if not stream:
                for piece in reader.whole(await self._body(response)):
                    yield piece
                return
            async for chunk in self._chunks(response):
                for piece in reader.feed(chunk):
                    yield piece
                if reader.is_done:
                    return
            reader.close()

    async def create_job(self, request: JobRequest, idempotency_key: str | None = None) -> Job:
        """Hand over a task; a returned job is committed. The same key with the same request gives the same job."""
        return await self._send(calls.create_job(request, idempotency_key))

    async def get_job(self, job_id: str, wait: float | None = None) -> Job:
        """The job; with ``wait`` (seconds) not before it has ended or the time is over."""
        return await self._send(calls.get_job(job_id, wait))

    async def wait_for_job(self, job_id: str, timeout_s: float | None = None) -> Job:
        """The job when it has ended; after ``timeout_s`` as it then stands."""
        return await self._run(calls.wait_for_job(job_id, timeout_s))

    async def list_jobs(self, status: JobStatus | None = None, after: str | None = None, limit: int = 20) -> JobPage:
        """Newest first."""
        return await self._send(calls.list_jobs(status, after, limit))

    async def cancel_job(self, job_id: str) -> Job:
        """Idempotent; a job that has ended is returned unchanged."""
        return await self._send(calls.cancel_job(job_id))

    async def job_event_page(self, job_id: str, after: int = -1, limit: int = 100) -> EventPage:
        """Events that are there, without waiting for more."""
        return await self._send(calls.job_event_page(job_id, after, limit))

    def job_events(self, job_id: str, after: int = -1) -> AsyncGenerator[Event, None]:
        """Every event above ``after``, as it happens, across broken connections; ends with the job."""
        return self._follow(Following.of_job(job_id, after))

    async def create_thread(self, title: str = "") -> Thread:
        return await self._send(calls.create_thread(title))

    async def get_thread(self, thread_id: str) -> Thread:
        return await self._send(calls.get_thread(thread_id))

    async def list_threads(self, after: str | None = None, limit: int = 20) -> ThreadPage:
        """Newest first."""
        return await self._send(calls.list_threads(after, limit))

    async def send_message(self, thread_id: str, content: str, lane: LaneChoice = "auto", effort: Effort | None = None) -> Turn:
        """Hand a message over; the gateway owns the turn from here, watch it with ``thread_events``."""
        return await self._send(calls.send_message(thread_id, content, lane, effort))

    async def messages(self, thread_id: str, after_seq: int | None = None, limit: int = 200) -> MessagePage:
        """Stored messages, oldest first, and where a viewer should start ``thread_events``."""
        return await self._send(calls.messages(thread_id, after_seq, limit))

    def thread_events(self, thread_id: str, after: int = -1) -> AsyncGenerator[Event, None]:
        """Every event above ``after``, as it happens, across broken connections; never ends by itself."""
        return self._follow(Following.of_thread(thread_id, after))

    async def cancel_turn(self, thread_id: str, turn_id: str) -> Turn:
        """Idempotent; a turn that has ended is returned unchanged."""
        return await self._send(calls.cancel_turn(thread_id, turn_id))

    async def decide(self, text: str, history: Sequence[str] = (), lane: LaneChoice = "auto", effort: Effort | None = None) -> Decision:
        """Which lane the router would choose; nothing is started."""
        return await self._send(calls.decide(text, history, lane, effort))

    async def create_key(self, name: str, scopes: Sequence[Scope] = DEFAULT_SCOPES) -> CreatedKey:
        """The only time the secret is shown."""
        return await self._send(calls.create_key(name, scopes))

    async def list_keys(self) -> list[ApiKey]:
        return await self._send(calls.list_keys())

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Idempotent."""
        return await self._send(calls.revoke_key(key_id))

    async def _send(self, call: Call[T]) -> T:
        try:
            response = await self._http.send(self._http.build_request(**request_parts(call)))
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error
        return read_answer(call, response.status_code, response.headers, response.content)

    async def _run(self, steps: Generator[Call[T], T, T]) -> T:
        call = next(steps)
        while True:
            answer = await self._send(call)
            try:
                call = steps.send(answer)
            except StopIteration as end:
                return end.value

    @asynccontextmanager
    async def _open(self, call: Call[bytes]) -> AsyncGenerator[httpx.Response, None]:
        """An answer whose body is read as it comes; errors are read at once."""
        try:
            response = await self._http.send(self._http.build_request(**request_parts(call)), stream=True)
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error
        try:
            if response.status_code >= 400:
                raise read_error(response.status_code, response.headers, await self._body(response))
            yield response
        finally:
            await response.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        try:
            return await response.aread()
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error

    async def _follow(self, following: Following) -> AsyncGenerator[Event, None]:
        while not following.is_final:
            try:
                async with self._open(following.connect()) as response:
                    following.connected(response.status_code)
                    async for chunk in self._chunks(response):
                        for event in following.feed(chunk):
                            yield event
                        if following.is_final:
                            return
            except TandemError as error:
                following.failed(error)
            if not following.is_final:
                await self._sleep(following.delay_s())
