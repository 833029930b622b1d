"""``/v1/keys``: an administrator's keys for their own tenant. A token is shown once, at its creation; only its digest is stored."""

from typing import Annotated

from fastapi import APIRouter, Header

from gateway.routes.common import MayAdminister, UseServices, known_id
from tandem.errors import InvalidRequest, NotFound, PermissionDenied
from tandem.ids import KeyId
from tandem.schemas.keys import ApiKey, CreatedKey, KeyCreate, KeyPage, uncovered_scopes
from tandem.secrets import digest, new_token

doors = APIRouter(prefix="/v1/keys", tags=["keys"])


@doors.post("", status_code=201)
async def create_key(
    request: KeyCreate,
    services: UseServices,
    caller: MayAdminister,
    idempotency_key: Annotated[str | None, Header(description="Refused: a token is shown once and cannot be shown again.")] = None,
) -> CreatedKey:
    """Make a key. When the answer got lost, find the key in the list by its name, revoke it and make another one."""
    if idempotency_key is not None:
        raise InvalidRequest(
            "the header Idempotency-Key is not taken here: a repeated answer could not show the token again; leave it out", param="Idempotency-Key"
        )
    needs = services.dependencies
    scopes = list(dict.fromkeys(request.scopes))
    if beyond := uncovered_scopes(scopes, caller.scopes):
        raise PermissionDenied(
            f"this key lacks the scope {beyond[0]!r} itself, and no key makes one that may do more; leave it out, or use 'tandem keys create'",
            param="scopes",
        )
    key_id = needs.ids.key()
    token, secret = new_token(key_id)
    key = await needs.storage.keys.add(key_id, caller.tenant, request.name, scopes, digest(needs.pepper, secret))
    return CreatedKey(**key.model_dump(), key=token)


@doors.get("")
async def list_keys(services: UseServices, caller: MayAdminister) -> KeyPage:
    """Every key of the tenant, revoked ones included."""
    return KeyPage(data=[key for key in await services.dependencies.storage.keys.list() if key.tenant == caller.tenant])


@doors.delete("/{key_id}")
async def revoke_key(key_id: str, services: UseServices, caller: MayAdminister) -> ApiKey:
    """Revoke a key for good; other gateways stop trusting it within ``key_cache_s``."""
    known = KeyId(known_id(key_id, "key", "key"))
    found = await services.dependencies.storage.keys.find(known)
    if found is None or found[0].tenant != caller.tenant:
        raise NotFound(f"no key {known!r}; list them to find its id", param="key_id")
    revoked = await services.dependencies.storage.keys.revoke(known)
    services.authenticator.forget(known)
    return revoked
