"""Creating calls that may be sent again: what the headers say about it, for every door that makes something.

``Idempotency-Key`` after draft-ietf-httpapi-idempotency-key-header-07. A client that counts its retries instead (the stock ``openai`` clients send
``x-stainless-retry-count``) is recognised by API key and body within a minute.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from gateway.auth import PRINCIPAL_KEY, Principal
from tandem.errors import InvalidRequest
from tandem.ports import Once

REPLAYED_HEADER: Final = "idempotent-replayed"
"""``true`` on an answer that an earlier request has earned."""
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Repeatable:
    """The caller's wish for one request, before its body is known."""

    scope: str
    key_id: str
    key: str | None
    retries: int | None
    """How often the client says it has sent this before; None when it does not count."""

    def of(self, body: BaseModel | None) -> Once | None:
        """The wish for this body; None when the caller has none. Field order and spelled-out defaults do not matter."""
        if self.key is None and self.retries is None:
            return None
        digest = fingerprint(body)
        if self.key is not None:
            return Once(self.scope, self.key, digest)
        return Once(self.scope, f"auto {self.key_id} {digest}", digest, kind="retry" if self.retries else "first")


def fingerprint(body: BaseModel | None) -> str:
    """Digest of a body in canonical form."""
    return hashlib.sha256(b"" if body is None else body.model_dump_json(by_alias=True).encode()).hexdigest()


def repeatable(method: str, path: str, principal: Principal, headers: Mapping[str, str]) -> Repeatable:
    """What the headers of a request say. ``headers`` has lower-case names.

    Raises:
        InvalidRequest: ``Idempotency-Key`` is empty, longer than 255 characters, or not printable ASCII.
    """
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest("the header Idempotency-Key must be 1 to 255 printable ASCII characters; send a shorter one", param="Idempotency-Key")
    counted = headers.get("x-stainless-retry-count", "")
    retries = int(counted) if counted.isascii() and counted.isdigit() and len(counted) < 9 else None
    return Repeatable(f"{method} {path}", str(principal.key_id), key, retries)


async def _repeatable(
    request: Request,
    idempotency_key: Annotated[str | None, Header(description="Sending the same key and body again returns what the first request made.")] = None,
) -> Repeatable:
    del idempotency_key  # declared for openapi.json
    return repeatable(request.method, request.url.path, cast("Principal", request.scope[PRINCIPAL_KEY]), request.headers)


MayRepeat = Annotated[Repeatable, Depends(_repeatable)]
"""Dependency of a creating door."""
