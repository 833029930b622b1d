"""Speaks to any OpenAI-compatible chat server: llama.cpp, vLLM, Ollama, hosted APIs.

Every request is streamed, also for whole replies: so ``read_timeout_s`` means silence and not length, and cancelling closes the upstream connection
at once, which stops the generation. Knows no lane, no prompt and no budget. Redirects are not followed and proxy variables are ignored.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx

from tandem.errors import ModelBadResponse, ModelError, ModelUnavailable
from tandem.models.faults import answer_fault, stream_fault, transport_fault
from tandem.models.protocol import Chunk, ServedModels, read_chunk, read_models, request_body, without_logprobs
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatDelta, ChatReply, ChatRequest, FinishReason, TokenChance, TokenUsage
from tandem.sse import Parser

BACK_OFF_S: Final = (0.2, 0.8)
"""Pauses before the further tries after a refused connection or a ``RETRIED_STATUSES``: nothing was generated yet, so trying again costs nothing."""
RETRIED_STATUSES: Final = frozenset({429, 503})
RETRY_AFTER_MAX_S: Final = 5.0
"""A server that wants a longer pause is reported instead of waited for."""
CHECK_TIMEOUT_S: Final = 5.0
IDLE_CONNECTION_S: Final = 2.0
"""Idle connections are closed well before llama.cpp and uvicorn do it at 5 s, so that no request is written into a closing one."""
MAX_CONNECTIONS: Final = 256
MAX_SILENT_BYTES: Final = 8 * 1_048_576
"""A server that sends this much without completing an event is not speaking the protocol."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is served, and how patient to be."""

    url: str
    """Base URL with ``/v1``."""
    model: str
    api_key: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 120.0
    takes_grammar: bool | None = None
    """Whether the server knows llama.cpp's ``grammar`` field; null asks the server once (hosted APIs refuse unknown fields)."""


class OpenAIChatModel:
    """Implements ``ports.ChatModel``.

    Args:
        endpoint: The server.
        transport: Replaces the network in tests.
        sleep: Waits between tries.
    """

    def __init__(
        self, endpoint: Endpoint, *, transport: httpx.AsyncBaseTransport | None = None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._endpoint = endpoint
        self._sleep = sleep
        self._takes_grammar = endpoint.takes_grammar
        self._refuses_logprobs = False
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {},
            timeout=httpx.Timeout(endpoint.read_timeout_s, connect=endpoint.connect_timeout_s),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=IDLE_CONNECTION_S),
            trust_env=False,
            verify=endpoint.url.startswith("https:"),  # loading the root certificates takes longer than a local model's first word
            transport=transport,
        )

    @property
    def name(self) -> str:
        return self._endpoint.model

    async def complete(self, request: ChatRequest) -> ChatReply:
        """One whole reply. Where the server does not count tokens, ``usage`` holds the pieces received: a lower bound of the output."""
        text: list[str] = []
        reasoning: list[str] = []
        chances: list[TokenChance] = []
        finish_reason: FinishReason = "unknown"
        usage: TokenUsage | None = None
        async with aclosing(self.stream(request)) as deltas:
            async for delta in deltas:
                text.append(delta.text)
                reasoning.append(delta.reasoning)
                chances += delta.chances
                finish_reason = delta.finish_reason or finish_reason
                usage = delta.usage or usage
        pieces = sum(1 for piece in (*text, *reasoning) if piece)
        return ChatReply(
            text="".join(text),
            reasoning="".join(reasoning),
            finish_reason=finish_reason,
            usage=usage or TokenUsage(output_tokens=pieces),
            model=self.name,
            chances=chances,
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        """The reply in pieces; the last one alone carries ``finish_reason`` and, where the server counts, ``usage``.

        A server that refuses to tell log-probabilities is asked without them, and never again for them.
        """
        takes_grammar = request.grammar is not None and await self._knows_grammar()
        body = request_body(self.name, request, takes_grammar=takes_grammar)
        finish_reason: FinishReason | None = None
        usage: TokenUsage | None = None
        async with self._open(body) as response, aclosing(self._chunks(response)) as chunks:
            async for chunk in chunks:
                finish_reason = chunk.finish_reason or finish_reason
                usage = chunk.token_usage or usage
                chances = chunk.chances if request.top_logprobs else []
                if chunk.text or chunk.thinking or chances:
                    yield ChatDelta(text=chunk.text, reasoning=chunk.thinking, chances=chances)
        if finish_reason is None:
            raise ModelBadResponse(f"the model server at {self._endpoint.url} ended a reply without a finish_reason")
        yield ChatDelta(finish_reason=finish_reason, usage=usage)

    async def check(self) -> str:
        served = await self._served()
        names = [model.id for model in served.data]
        if self.name in names or f"{self.name}:latest" in names:  # Ollama adds the tag
            return self.name
        raise ModelUnavailable(f"the model server at {self._endpoint.url} serves {names!r}, not {self.name!r}; set the lane's model to one of them")

    async def close(self) -> None:
        await self._http.aclose()

    async def _knows_grammar(self) -> bool:
        if self._takes_grammar is None:
            self._takes_grammar = any(model.owned_by == "llamacpp" for model in (await self._served()).data)
        return self._takes_grammar

    async def _served(self) -> ServedModels:
        url = f"{self._endpoint.url}/models"
        try:
            response = await self._http.get(url, timeout=min(CHECK_TIMEOUT_S, self._endpoint.read_timeout_s))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise transport_fault(error, self._endpoint.url, is_mid_stream=False) from error
        if response.status_code != HTTPStatus.OK:
            raise answer_fault(response.status_code, response.content, self._endpoint.url, response.headers.get("retry-after"))
        return read_models(response.content)

    @asynccontextmanager
    async def _open(self, body: JsonObject) -> AsyncGenerator[httpx.Response]:
        """The response of an accepted request; closing it closes the upstream connection when bytes are left."""
        response = await self._send_accepted(body)
        try:
            yield response
        except httpx.HTTPError as error:
            raise transport_fault(error, self._endpoint.url, is_mid_stream=True) from error
        finally:
            await response.aclose()

    async def _send_accepted(self, body: JsonObject) -> httpx.Response:
        plain = without_logprobs(body)
        if not self._refuses_logprobs and len(plain) < len(body):
            with suppress(ModelBadResponse):  # whatever it was: a fault of the rest is found by asking for the rest
                return await self._send_with_retries(body)
            response = await self._send_with_retries(plain)
            self._refuses_logprobs = True
            return response
        return await self._send_with_retries(plain)

    async def _send_with_retries(self, body: JsonObject) -> httpx.Response:
        url = self._endpoint.url
        for pause_s in (*BACK_OFF_S, None):
            try:
                request = self._http.build_request("POST", f"{url}/chat/completions", json=body)
                response = await self._http.send(request, stream=True)
                if response.status_code == HTTPStatus.OK:
                    return response
                fault = await self._refusal(response)
                may_retry = response.status_code in RETRIED_STATUSES
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                fault = transport_fault(error, url, is_mid_stream=False)
                may_retry = isinstance(error, httpx.ConnectError)
            wait_s = max(fault.retry_after_s or 0.0, pause_s or 0.0)
            if pause_s is None or not may_retry or wait_s > RETRY_AFTER_MAX_S:
                raise fault
            await self._sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    async def _refusal(self, response: httpx.Response) -> ModelError:
        try:
            said = await response.aread()
        finally:
            await response.aclose()
        return answer_fault(response.status_code, said, self._endpoint.url, response.headers.get("retry-after"))

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[Chunk]:
        """Chunks up to ``[DONE]`` or the end of the stream; a server that ignores ``stream`` yields its whole reply as one."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            yield self._checked(read_chunk(await response.aread()))
            return
        if kind != "text/event-stream":
            raise ModelBadResponse(f"the model server at {self._endpoint.url} answered with content type {kind!r}; check the lane's url")
        parser = Parser()
        silent_bytes = 0
        async for data in response.aiter_bytes():
            silent_bytes += len(data)
            for frame in parser.feed(data):
                silent_bytes = 0
                if frame.data.strip() == "[DONE]":
                    return
                yield self._checked(read_chunk(frame.data))
            if silent_bytes > MAX_SILENT_BYTES:
                raise ModelBadResponse(f"the model server at {self._endpoint.url} sent {silent_bytes:,} bytes without an event")

    def _checked(self, chunk: Chunk) -> Chunk:
        if chunk.error:
            raise stream_fault(chunk.error, self._endpoint.url)
        return chunk
