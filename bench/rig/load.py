"""A closed-loop load generator over raw connections, light enough to share a core with the model server. Every answer is checked."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import cast

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STAMP = re.compile(rb'"content": ?"(\d{9,}) ?"')


@dataclass
class Sample:
    """What one round saw."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    latency_s: list[float] = field(default_factory=list[float])
    ttft_s: list[float] = field(default_factory=list[float])
    token_delay_s: list[float] = field(default_factory=list[float])
    tokens: int = 0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Target:
    """Where to send, and as whom."""

    host: str
    port: int
    path: str
    token: str
    model: str


@dataclass(frozen=True)
class Shape:
    """What to ask for."""

    is_stream: bool
    tokens: int = 16
    first_ms: int = 0
    gap_ms: int = 0

    def request(self, target: Target) -> bytes:
        stream = b',"stream":true' if self.is_stream else b""
        pace = b',"seed":%d' % (self.first_ms * 1000 + self.gap_ms)
        body = b'{"model":"%s","messages":[{"role":"user","content":"hi, how are you?"}],"max_tokens":%d%s%s}' % (
            target.model.encode(),
            self.tokens,
            pace,
            stream,
        )
        head = f"POST {target.path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {target.token}\r\ncontent-type: application/json\r\n"
        return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


class Connection(asyncio.Protocol):
    """One kept connection: one request at a time."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self._buffer = b""
        self._waiter: asyncio.Future[bool] | None = None
        self._started = 0.0
        self._is_first = True
        self._seen = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(False)

    async def ask(self, request: bytes) -> bool:
        """Send and wait for the whole answer; whether it was a good one."""
        self._buffer, self._is_first, self._seen = b"", True, 0
        self._waiter = asyncio.get_running_loop().create_future()
        self._started = time.perf_counter()
        self._transport.write(request)
        return await self._waiter

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._buffer += data
        for match in _STAMP.finditer(self._buffer, self._seen):
            if self._is_first:
                self._is_first = False
                self.sample.ttft_s.append(time.perf_counter() - self._started)
            self.sample.token_delay_s.append((now_ns - int(match[1])) / 1e9)
            self.sample.tokens += 1
            self._seen = match.end()
        if self._waiter and not self._waiter.done() and self._is_complete():
            self._waiter.set_result(self._buffer.startswith(b"HTTP/1.1 200") and (b"[DONE]" in self._buffer or b'"choices"' in self._buffer))

    def _is_complete(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = _LENGTH.search(self._buffer, 0, end)
        return len(self._buffer) >= end + 4 + int(length[1]) if length else self._buffer.endswith(b"0\r\n\r\n")

    def close(self) -> None:
        self._transport.close()


async def run_round(target: Target, shape: Shape, in_flight: int, seconds: float) -> Sample:
    """Keep ``in_flight`` requests going for ``seconds``.

    The first exchange of each connection warms up and is not counted: all of them begin at once, and the tail would be that of this herd alone.
    """
    sample = Sample()
    request = shape.request(target)
    deadline = time.perf_counter() + seconds

    async def worker() -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(Sample()), target.host, target.port)
        sample.errors += not await connection.ask(request)
        connection.sample = sample
        while (started := time.perf_counter()) < deadline:
            if await connection.ask(request):
                sample.requests += 1
                sample.latency_s.append(time.perf_counter() - started)
            else:
                sample.errors += 1
                connection.close()
                _, connection = await loop.create_connection(lambda: Connection(sample), target.host, target.port)
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    sample.seconds = time.perf_counter() - started
    return sample
