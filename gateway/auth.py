"""Who calls: ``Authorization: Bearer tdm_…`` to a ``Principal``. There is no other spelling and no anonymous door but the public ones in app.py.

Covered: forged, revoked and malformed tokens; timing of the comparison; a slow or absent database (a key verified within ``key_cache_s`` goes on
working). Not covered: a token stolen from a caller, rate limits per key. Knows nothing of routes.
"""

import asyncio
import hmac
from dataclasses import dataclass, field

from tandem.errors import AuthenticationFailed, PermissionDenied
from tandem.ids import KeyId, TenantId
from tandem.ports import Clock, KeyStore
from tandem.schemas.keys import ApiKey, DoorScope, Scope
from tandem.secrets import digest, parse_token

PRINCIPAL_KEY = "tandem.principal"
"""Where ``app.py`` leaves the authenticated caller in the ASGI scope."""
_MAX_CACHED = 4_096
_REMEDY = "send the header 'Authorization: Bearer <key>'; 'tandem keys create' makes a key"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever holds the key."""

    tenant: TenantId
    key_id: KeyId
    scopes: frozenset[Scope]

    def require(self, *scopes: DoorScope) -> None:
        """Raises ``PermissionDenied`` when the key was given none of these scopes."""
        if self.scopes.isdisjoint(scopes):
            wanted = " or ".join(map(repr, scopes))
            raise PermissionDenied(f"this key lacks the scope {wanted}; use a key that has it ('tandem keys create --scope {scopes[0]}')")


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    digest: bytes
    is_revoked: bool
    until: float
    """Monotonic seconds."""
    secret: list[str] = field(default_factory=list[str], repr=False)
    """The secret once it was verified; forgotten with the rest."""


class Authenticator:
    """Verifies keys against the store, trusting what it read for at most ``cache_s`` seconds."""

    def __init__(self, keys: KeyStore, pepper: bytes, clock: Clock, cache_s: float) -> None:
        self._keys = keys
        self._pepper = pepper
        self._clock = clock
        self._cache_s = cache_s
        self._known: dict[KeyId, _Known] = {}
        self._asking: dict[KeyId, asyncio.Task[_Known]] = {}

    async def authenticate(self, authorization: str | None) -> Principal:
        """The caller behind this header.

        Raises:
            AuthenticationFailed: No key, or not a valid one; the message never repeats it.
        """
        if not authorization:
            raise AuthenticationFailed(f"no API key; {_REMEDY}")
        scheme, _, token = authorization.partition(" ")
        parsed = parse_token(token.strip()) if scheme.lower() == "bearer" else None
        if parsed is None:
            raise AuthenticationFailed(f"the Authorization header holds no well-formed API key; {_REMEDY}")
        known = await self._known_key(parsed.key_id)
        if not self._is_right(known, parsed.secret) or known.is_revoked:
            raise AuthenticationFailed(f"the API key is unknown or revoked; {_REMEDY}")
        return known.principal

    def _is_right(self, known: _Known, secret: str) -> bool:
        """In constant time; a secret that was right before is compared itself, which is cheaper than its digest."""
        if known.secret and hmac.compare_digest(known.secret[-1], secret):
            return True
        is_right = hmac.compare_digest(known.digest, digest(self._pepper, secret))
        if is_right:
            known.secret[:] = [secret]
        return is_right

    def forget(self, key_id: KeyId) -> None:
        """A key changed: this process asks the store again; others do within ``cache_s``."""
        self._known.pop(key_id, None)

    async def _known_key(self, key_id: KeyId) -> _Known:
        """What is trusted of the key. One look at the store serves all who wait; a busy key is looked up again before its time is over."""
        known, now = self._known.get(key_id), self._clock.monotonic()
        if known is not None and now < known.until - self._cache_s / 2:
            return known
        asking = self._asking.get(key_id)
        if asking is None:
            asking = self._asking[key_id] = asyncio.create_task(self._look_up(key_id))
            asking.add_done_callback(lambda done: self._asked(key_id, done))
        if known is not None and now < known.until:
            return known
        return await asyncio.shield(asking)

    def _asked(self, key_id: KeyId, done: asyncio.Task[_Known]) -> None:
        """Whoever waits gets the error itself; without anybody, the next request asks again."""
        self._asking.pop(key_id, None)
        if not done.cancelled():
            done.exception()

    async def _look_up(self, key_id: KeyId) -> _Known:
        found = await self._keys.find(key_id)
        if found is None:
            self._known.pop(key_id, None)
            raise AuthenticationFailed(f"the API key is unknown or revoked; {_REMEDY}")
        known = self._remember(*found)
        if len(self._known) >= _MAX_CACHED:
            self._known.pop(next(iter(self._known)))
        self._known[key_id] = known
        return known

    def _remember(self, key: ApiKey, stored: bytes) -> _Known:
        principal = Principal(TenantId(key.tenant), KeyId(key.id), frozenset(key.scopes))
        return _Known(principal, stored, key.revoked_at is not None, self._clock.monotonic() + self._cache_s)
