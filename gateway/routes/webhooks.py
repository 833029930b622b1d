"""``/v1/webhook_endpoints``: receivers that hear of a tenant's jobs. A shared secret is shown once, at its making; it is stored sealed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from gateway.dependencies import Services
from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.common import MayReadJobs, MayWriteJobs, UseServices, known_id
from tandem.errors import EgressDenied, InvalidRequest, SettingsInvalid
from tandem.ids import EndpointId
from tandem.schemas.webhooks import (
    CreatedEndpoint,
    EndpointChange,
    EndpointCreate,
    EndpointPage,
    EndpointRecovery,
    Recovered,
    SecretRotation,
    WebhookDelivery,
    WebhookEndpoint,
)
from tandem.secrets import seal, unseal
from tandem.telemetry import get_logger
from tandem.webhooks import new_secret, public_key

doors = APIRouter(prefix="/v1/webhook_endpoints", tags=["webhooks"])
_log = get_logger(__name__)


async def _known_endpoint(endpoint_id: str) -> EndpointId:
    return EndpointId(known_id(endpoint_id, "whe", "endpoint"))


KnownEndpoint = Annotated[EndpointId, Depends(_known_endpoint)]
"""The endpoint id of a door's path."""


@doors.post("", status_code=201)
async def create_endpoint(
    request: EndpointCreate, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response
) -> CreatedEndpoint:
    """Register a receiver. Its address is judged now and again at each send; the answer holds the secret that its webhooks are signed with."""
    await _check_url(services, request.url)
    needs = services.dependencies
    endpoint_id = needs.ids.endpoint()
    sealed = seal(needs.pepper, endpoint_id, new_secret(request.signing))
    endpoint, sealed, is_replay = await needs.storage.webhooks.add(
        endpoint_id,
        caller.tenant,
        request.model_copy(update={"events": list(dict.fromkeys(request.events))}),
        sealed,
        max_endpoints=services.settings.webhooks.max_endpoints,
        once=repeat.of(request),
    )
    response.headers["location"] = f"/v1/webhook_endpoints/{endpoint.id}"
    return _with_secret(services, endpoint, sealed, response, is_replay=is_replay)


@doors.get("")
async def list_endpoints(
    services: UseServices, caller: MayReadJobs, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> EndpointPage:
    """The tenant's receivers, newest first, without their secrets."""
    cursor = None if after is None else EndpointId(known_id(after, "whe", "endpoint"))
    found = await services.dependencies.storage.webhooks.list(caller.tenant, after=cursor, limit=limit + 1)
    endpoints = [_shown(services, endpoint, sealed) for endpoint, sealed in list(found)[:limit]]
    return EndpointPage(data=endpoints, next_after=endpoints[-1].id if len(found) > limit else None)


@doors.get("/{endpoint_id}")
async def read_endpoint(endpoint_id: KnownEndpoint, services: UseServices, caller: MayReadJobs) -> WebhookEndpoint:
    """One receiver, with its health and without its secret."""
    return _shown(services, *await services.dependencies.storage.webhooks.get(endpoint_id, caller.tenant))


@doors.patch("/{endpoint_id}")
async def change_endpoint(endpoint_id: KnownEndpoint, request: EndpointChange, services: UseServices, caller: MayWriteJobs) -> WebhookEndpoint:
    """Change address, description or events, or switch it off and on. Off: what waits fails and can be recovered. On: its failures are forgotten."""
    if not request.model_dump(exclude_none=True):
        raise InvalidRequest("the body changes nothing; give 'url', 'description', 'events' or 'is_enabled'")
    webhooks = services.dependencies.storage.webhooks
    await webhooks.get(endpoint_id, caller.tenant)
    if request.url is not None:
        await _check_url(services, request.url)
    if request.events is not None:
        request = request.model_copy(update={"events": list(dict.fromkeys(request.events))})
    await webhooks.change(endpoint_id, caller.tenant, request)
    return _shown(services, *await webhooks.get(endpoint_id, caller.tenant))


@doors.delete("/{endpoint_id}", status_code=204)
async def delete_endpoint(endpoint_id: KnownEndpoint, services: UseServices, caller: MayWriteJobs) -> None:
    """Remove a receiver; what waits for it fails, and the log of its deliveries stays."""
    await services.dependencies.storage.webhooks.remove(endpoint_id, caller.tenant)


@doors.post("/{endpoint_id}/rotate_secret")
async def rotate_secret(
    endpoint_id: KnownEndpoint,
    services: UseServices,
    caller: MayWriteJobs,
    repeat: MayRepeat,
    response: Response,
    request: SecretRotation | None = None,
) -> CreatedEndpoint:
    """Make a new secret. Both sign until the overlap is over, so that a receiver changes over without losing a webhook; 0 revokes the old one."""
    needs, wish = services.dependencies, request or SecretRotation()
    current, _ = await needs.storage.webhooks.get(endpoint_id, caller.tenant)
    overlap_s = services.settings.webhooks.rotation_s if wish.overlap_seconds is None else wish.overlap_seconds
    sealed = seal(needs.pepper, endpoint_id, new_secret(current.signing))
    endpoint, sealed, is_replay = await needs.storage.webhooks.rotate(endpoint_id, caller.tenant, sealed, overlap_s, once=repeat.of(wish))
    return _with_secret(services, endpoint, sealed, response, is_replay=is_replay)


@doors.post("/{endpoint_id}/test", status_code=202)
async def test_endpoint(
    endpoint_id: KnownEndpoint, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response
) -> WebhookDelivery:
    """Send a ``webhook_endpoint.test``; the delivery's log tells how it went. 409 when the receiver is switched off."""
    delivery, is_replay = await services.dependencies.storage.webhooks.send_test(endpoint_id, caller.tenant, once=repeat.of(None))
    if is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return delivery


@doors.post("/{endpoint_id}/recover", status_code=202)
async def recover_endpoint(endpoint_id: KnownEndpoint, request: EndpointRecovery, services: UseServices, caller: MayWriteJobs) -> Recovered:
    """Send again everything that has failed since a moment, with the same ``webhook-id``. 409 when the receiver is switched off."""
    return Recovered(deliveries=await services.dependencies.storage.webhooks.recover(endpoint_id, caller.tenant, request.since))


async def _check_url(services: Services, url: str) -> None:
    try:
        await services.dependencies.check_webhook(url)
    except EgressDenied as error:
        raise EgressDenied(error.message, param="url") from None


def _with_secret(services: Services, endpoint: WebhookEndpoint, sealed: bytes, response: Response, *, is_replay: bool) -> CreatedEndpoint:
    if is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    secret = unseal(services.dependencies.pepper, EndpointId(endpoint.id), sealed)
    fields = endpoint.model_dump() | {"public_key": public_key(secret)}
    return CreatedEndpoint.model_validate(fields | {"secret": secret if endpoint.signing == "hmac" else None})


def _shown(services: Services, endpoint: WebhookEndpoint, sealed: bytes) -> WebhookEndpoint:
    """With its public key, if it has one; without, when its secret cannot be opened here: the endpoint can then still be rotated or removed."""
    if endpoint.signing == "hmac":
        return endpoint
    try:
        public = public_key(unseal(services.dependencies.pepper, EndpointId(endpoint.id), sealed))
    except SettingsInvalid as error:
        _log.error("webhook_secret_unreadable", endpoint_id=endpoint.id, error=error.message)
        return endpoint
    return endpoint.model_copy(update={"public_key": public})
