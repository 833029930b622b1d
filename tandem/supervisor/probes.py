"""How the supervisor sees that a process can serve: one cheap question each, over bare sockets or a file's age."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

_ANSWER_WITHIN_S: Final = 2.0


class Probe(Protocol):
    """One question to one process."""

    async def is_ready(self, since: float) -> bool:
        """Whether it can serve.

        Args:
            since: Unix seconds at which the process was started.
        """
        ...


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ready when ``GET url`` answers 200."""

    url: str

    async def is_ready(self, since: float) -> bool:  # noqa: ARG002 - the port is free before the start, so an answer is this process's
        parts = urlsplit(self.url)
        request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        answer = await _ask(parts.hostname or "", parts.port or 80, request.encode())
        return answer.split(b" ", 2)[1:2] == [b"200"]


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """Ready when it accepts the password and answers PING."""

    port: int
    password: str

    async def is_ready(self, since: float) -> bool:  # noqa: ARG002 - the password says whose it is
        request = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(self.password), self.password.encode())
        return await _ask("127.0.0.1", self.port, request) == b"+OK"

    def __repr__(self) -> str:
        return f"RedisProbe(port={self.port})"


@dataclass(frozen=True, slots=True)
class AliveFileProbe:
    """Ready when the process has touched its file since it was started; for processes without a door."""

    path: Path

    async def is_ready(self, since: float) -> bool:
        try:
            return self.path.stat().st_mtime >= since
        except FileNotFoundError:
            return False


async def _ask(host: str, port: int, request: bytes) -> bytes:
    """First line of the answer; empty when there is none in time."""
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                return (await reader.readline()).rstrip(b"\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # refused, silent, or a line without end
        return b""
