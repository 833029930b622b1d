"""The streaming answer: frames go out in order, and a client that leaves or stalls is let go."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.types import Message

from gateway.event_stream import EventStream

SCOPE: dict[str, object] = {"type": "http"}


class Client:
    """The other end of one ASGI exchange."""

    def __init__(self, *, takes: int = 1_000) -> None:
        self.got: list[Message] = []
        self.left = asyncio.Event()
        self._takes = takes

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.got) >= self._takes:
            await asyncio.Event().wait()
        self.got.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.got if message["type"] == "http.response.body"]


async def frames(closed: list[str], *, ends: bool = True) -> AsyncGenerator[bytes]:
    try:
        yield b"a"
        yield b"b"
        if not ends:
            await asyncio.Event().wait()
    finally:
        closed.append("closed")


async def test_frames_go_out_in_order_and_the_answer_is_ended() -> None:
    closed: list[str] = []
    client = Client()
    await EventStream(frames(closed), 5)(SCOPE, client.receive, client.send)
    assert client.bodies == [b"a", b"b", b""]
    assert dict(client.got[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in dict(client.got[0]["headers"])
    assert closed == ["closed"]


async def test_a_client_that_leaves_ends_the_frames() -> None:
    closed: list[str] = []
    client = Client()
    asyncio.get_running_loop().call_soon(client.left.set)
    await EventStream(frames(closed, ends=False), 5)(SCOPE, client.receive, client.send)
    assert closed == ["closed"]
    assert b"" not in client.bodies


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    closed: list[str] = []
    client = Client(takes=2)
    await EventStream(frames(closed, ends=False), 0.02)(SCOPE, client.receive, client.send)
    assert (client.bodies, closed) == ([b"a"], ["closed"])


async def test_a_silent_source_is_no_stalled_client() -> None:
    closed: list[str] = []
    client = Client()

    async def late() -> AsyncGenerator[bytes]:
        yield b"a"
        await asyncio.sleep(0.06)
        yield b"b"

    await EventStream(late(), 0.02)(SCOPE, client.receive, client.send)
    assert client.bodies == [b"a", b"b", b""]
    assert closed == []
