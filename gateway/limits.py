"""What one request may cost before any door sees it: bytes, nesting, requests in flight. Knows nothing of doors or keys."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from gateway.asgi import Receive, Scope, header
from tandem.errors import BodyTooLarge, InvalidRequest, TooManyRequests

RETRY_AFTER_S: Final = 1.0
_MARKS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""A string (also one that never ends, so that the search stays linear), an opening or a closing bracket."""


class ClientGone(Exception):
    """The client closed the connection before its body had arrived."""


class InFlight:
    """Counts requests being answered by this process; beyond the limit they are told to come back.

    A saturated event loop starves some connections for seconds, so the process must never be driven there.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.count = 0

    @contextmanager
    def slot(self) -> Generator[None]:
        """Raises ``TooManyRequests`` when every slot is taken."""
        if self.count >= self._limit:
            raise TooManyRequests(f"{self.count} requests are being answered, the most this gateway takes; try again", retry_after_s=RETRY_AFTER_S)
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body, with or without ``content-length``.

    Raises:
        BodyTooLarge: As soon as more than ``max_bytes`` are announced or have come.
        ClientGone: The client hung up.
    """
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(int(announced), max_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body = bytes(message.get("body", b""))
        if len(body) > max_bytes:
            raise _too_large(len(body), max_bytes)
        return body
    chunks: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        chunks.append(bytes(message.get("body", b"")))
        size += len(chunks[-1])
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()
    raise ClientGone


def check_depth(body: bytes, max_depth: int) -> None:
    """Raises ``InvalidRequest`` when arrays and objects are nested deeper than ``max_depth``; reads no further than it must."""
    if body.count(b"{") + body.count(b"[") <= max_depth:
        return
    depth = 0
    for match in _MARKS.finditer(body):
        first = body[match.start()]
        if first in b"[{":
            depth += 1
            if depth > max_depth:
                raise InvalidRequest(f"the body is nested more than {max_depth} levels deep; flatten it")
        elif first in b"]}":
            depth -= 1


def _too_large(size: int, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has at least {size} bytes, {max_bytes} are allowed; send less")
