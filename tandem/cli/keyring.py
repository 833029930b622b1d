"""API keys made on this machine, directly in the database: the gateway need not run."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Final

from tandem.ids import DEFAULT_TENANT, IdFactory, TenantId
from tandem.ports import KeyStore
from tandem.schemas.keys import ALL_SCOPES, ApiKey, Scope, uncovered_scopes
from tandem.secrets import digest, load_local_key, load_pepper, new_token, parse_token, save_local_key
from tandem.settings import Settings

_LOCAL: Final = "local"


async def create_key(
    keys: KeyStore, settings: Settings, ids: IdFactory, *, name: str, tenant: TenantId, scopes: Sequence[Scope]
) -> tuple[ApiKey, str]:
    """Store a key; returns it and its token, which is stored nowhere."""
    key_id = ids.key()
    token, secret = new_token(key_id)
    return await keys.add(key_id, tenant, name, scopes, digest(load_pepper(settings), secret)), token


async def ensure_local_key(keys: KeyStore, settings: Settings, ids: IdFactory) -> str | None:
    """Give this machine's user a key that works and may do everything; returns the token when it was made just now.

    One that an older version made with fewer scopes is replaced, and goes on to work for whoever copied it. A token from the settings is the
    operator's business and is left alone.
    """
    if settings.api_key or await _opens(keys, settings, load_local_key(settings)):
        return None
    _, token = await create_key(keys, settings, ids, name=_LOCAL, tenant=DEFAULT_TENANT, scopes=ALL_SCOPES)
    save_local_key(settings, token)
    return token


async def _opens(keys: KeyStore, settings: Settings, token: str | None) -> bool:
    parsed = parse_token(token) if token else None
    found = await keys.find(parsed.key_id) if parsed else None
    if parsed is None or found is None:
        return False
    key, stored = found
    if key.name == _LOCAL and uncovered_scopes(ALL_SCOPES, key.scopes):
        return False
    return key.revoked_at is None and compare_digest(stored, digest(load_pepper(settings), parsed.secret))
