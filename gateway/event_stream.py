"""The answer that is a stream: sends frames as they come, notices a client that has gone, and gives up on one that takes nothing.

What waits to be sent to one client is bounded by the server's write buffer (64 KiB) and one frame: the source is asked for the next frame only when
the one before is out.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tandem.sse import RESPONSE_HEADERS
from tandem.telemetry import get_logger

_log = get_logger(__name__)


class EventStream(Response):
    """Server-sent events.

    Args:
        frames: Encoded frames; closed in every case.
        send_timeout_s: A client that takes nothing for this long is cut off; it resumes with the last number it has.
        headers: More headers.
    """

    media_type = None

    def __init__(self, frames: AsyncGenerator[bytes], send_timeout_s: float, headers: dict[str, str] | None = None) -> None:
        super().__init__(status_code=200, headers={**RESPONSE_HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self._frames = frames
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        """Send until the frames end, the client has gone, or it takes nothing."""
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                if not task.done():
                    task.cancel()
            await asyncio.wait({sending, leaving})
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._frames) as frames:
            try:
                async for frame in frames:
                    async with asyncio.timeout(self._send_timeout_s):
                        await send({"type": "http.response.body", "body": frame, "more_body": True})
            except TimeoutError:
                _log.info("stream_client_stalled", timeout_s=self._send_timeout_s)
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
