"""A webhook receiver that answers as it is told: well, late, wrongly or never. Runs in the test's own event loop."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Post:
    """One delivery as it came in."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    at: float
    """Seconds, monotonic."""

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[[Post, asyncio.StreamWriter], Awaitable[None]]


def status(code: int, headers: str = "", body: bytes = b"") -> Answer:
    """An answer with a status line, more header lines and a body."""

    async def answer(_post: Post, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n".encode() + body)

    return answer


async def hang(_post: Post, _writer: asyncio.StreamWriter) -> None:
    """No answer at all."""
    await asyncio.sleep(3_600)


async def drip(_post: Post, writer: asyncio.StreamWriter) -> None:
    """One byte of the head at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0.1)


async def flood(_post: Post, writer: asyncio.StreamWriter) -> None:
    """A body without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


@dataclass(slots=True)
class Receiver:
    """Keeps every delivery; answers each path with its queue of answers, then with 204."""

    url: str = ""
    posts: list[Post] = field(default_factory=list[Post])
    answers: dict[str, list[Answer]] = field(default_factory=dict[str, list[Answer]])

    def address(self, path: str, *answers: Answer) -> str:
        """The URL of a path, whose first deliveries are answered so."""
        self.answers[path] = list(answers)
        return f"{self.url}{path}"

    def at(self, path: str) -> list[Post]:
        return [post for post in self.posts if post.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            post = Post(head[0].split()[1], headers, body, time.monotonic())
            queue = self.answers.get(post.path, [])
            self.posts.append(post)
            await (queue.pop(0) if queue else status(204))(post, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncGenerator[Receiver]:
    """A receiver on a free port of loopback."""
    receiver = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server callback runs in its task
        tasks.add(task)
        await receiver.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


__all__ = ["Post", "Receiver", "drip", "flood", "hang", "receiving", "status"]
