"""What every ``WebhookStore`` must do, and the part of ``Outbox`` that concerns endpoints. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tandem.errors import Conflict, IdempotencyKeyReused, NotFound, TooManyRequests
from tandem.ids import DeliveryId, EndpointId, JobId, TenantId
from tandem.ports import INTERNAL, Answered, Delivery, NewJob, Once, Storage
from tandem.schemas.jobs import JobRequest
from tandem.schemas.webhooks import DeliveryState, EndpointChange, EndpointCreate, WebhookDelivery, WebhookEndpoint, WebhookType
from tandem.testing.samples import ALICE, BOB, Samples

_LEASE_S: Final = 30.0
_SHORT_S: Final = 0.02
_MANY: Final = 100
_LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
_URL: Final = "https://receiver.example/hook"
_OK: Final = Answered("http_200", 200, 0.25, "thanks")
_BROKEN: Final = Answered("http_500", 500, 0.5, "oops")
_GONE: Final = Answered("http_410", 410)
_NEVER_S: Final = 1e9


async def added(
    storage: Storage,
    samples: Samples,
    *,
    url: str = _URL,
    events: Sequence[WebhookType] = (),
    tenant: TenantId = ALICE,
    secret: bytes = b"sealed",
) -> EndpointId:
    """A new endpoint."""
    endpoint_id = samples.ids.endpoint()
    await storage.webhooks.add(endpoint_id, tenant, EndpointCreate(url=url, events=list(events)), secret, max_endpoints=_MANY)
    return endpoint_id


async def ended(storage: Storage, samples: Samples, *, tenant: TenantId = ALICE, **request: Any) -> JobId:
    """A job that has been cancelled, which webhooks tell of."""
    wanted = JobRequest.model_validate({"input": "add 2 and 3", "metadata": {"order": "17"}} | request)
    new = NewJob(id=samples.ids.job(), tenant=tenant, key_id=None, request=wanted, effort="low", title="A sum")
    await storage.jobs.create(new, max_unfinished=_MANY)
    await storage.jobs.request_cancel(new.id, tenant)
    return new.id


async def due(storage: Storage, lease_s: float = _LEASE_S) -> list[Delivery]:
    """Claim whatever is due."""
    return list(await storage.outbox.claim(_MANY, lease_s))


async def claimed_one(storage: Storage, lease_s: float = _LEASE_S) -> Delivery:
    """Claim the one delivery that is due."""
    (delivery,) = await due(storage, lease_s)
    return delivery


async def read(storage: Storage, endpoint_id: EndpointId, tenant: TenantId = ALICE) -> WebhookEndpoint:
    """An endpoint without its secret."""
    return (await storage.webhooks.get(endpoint_id, tenant))[0]


async def logged(
    storage: Storage,
    tenant: TenantId = ALICE,
    *,
    endpoint_id: EndpointId | None = None,
    job_id: JobId | None = None,
    state: DeliveryState | None = None,
    after: str | None = None,
    limit: int = _MANY,
) -> list[WebhookDelivery]:
    """A page of the log."""
    cursor = None if after is None else DeliveryId(after)
    return list(await storage.webhooks.deliveries(tenant, endpoint_id=endpoint_id, job_id=job_id, state=state, after=cursor, limit=limit))


async def fail(storage: Storage, delivery: Delivery, answered: Answered = _BROKEN, *, disable_after_s: float = _NEVER_S) -> bool:
    """Record a failed attempt that is to be repeated at once."""
    return await storage.outbox.retry(delivery, 0.0, answered, disable_after_s=disable_after_s)


def body_of(delivery: Delivery) -> Mapping[str, Any]:
    """What a receiver would parse."""
    body: Mapping[str, Any] = json.loads(delivery.body)
    return body


class EndpointConformance:
    """Endpoints: made, read, changed, rotated, removed."""

    async def test_an_endpoint_reads_back_as_it_was_made(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = samples.ids.endpoint()
        new = EndpointCreate(url=_URL, description="CI", events=["response.failed"], signing="ed25519")
        endpoint, secret, is_replay = await storage.webhooks.add(endpoint_id, ALICE, new, b"\x00sealed\xff", max_endpoints=1)
        assert (endpoint.id, endpoint.url, endpoint.description, endpoint.events, endpoint.signing) == (
            endpoint_id, _URL, "CI", ["response.failed"], "ed25519",
        )  # fmt: skip
        assert (endpoint.is_enabled, endpoint.disabled_reason, endpoint.failing_since, endpoint.old_secret_until) == (True, None, None, None)
        assert (secret, is_replay) == (b"\x00sealed\xff", False)
        assert await storage.webhooks.get(endpoint_id, ALICE) == (endpoint, secret)

    async def test_a_tenant_has_at_most_so_many_endpoints(self, storage: Storage, samples: Samples) -> None:
        await added(storage, samples)
        await added(storage, samples, tenant=BOB)
        with pytest.raises(TooManyRequests, match="1 webhook endpoints already"):
            await storage.webhooks.add(samples.ids.endpoint(), ALICE, EndpointCreate(url=_URL), b"s", max_endpoints=1)

    async def test_a_repeated_creation_finds_the_first_with_its_secret(self, storage: Storage, samples: Samples) -> None:
        first, second = samples.ids.endpoint(), samples.ids.endpoint()
        new, once = EndpointCreate(url=_URL), Once("POST /v1/webhook_endpoints", "k", "f")
        await storage.webhooks.add(first, ALICE, new, b"one", max_endpoints=1, once=once)
        again, secret, is_replay = await storage.webhooks.add(second, ALICE, new, b"two", max_endpoints=1, once=once)
        assert (again.id, secret, is_replay) == (first, b"one", True)
        with pytest.raises(IdempotencyKeyReused):
            await storage.webhooks.add(second, ALICE, new, b"two", max_endpoints=9, once=Once(once.scope, "k", "other"))

    async def test_endpoints_are_listed_newest_first_and_by_tenant(self, storage: Storage, samples: Samples) -> None:
        ids: list[EndpointId] = []
        for number in range(3):
            ids.append(await added(storage, samples, secret=bytes([number])))
            await asyncio.sleep(0.002)  # SQLite's clock ticks in milliseconds
        await added(storage, samples, tenant=BOB)
        page = await storage.webhooks.list(ALICE, after=None, limit=2)
        assert [(endpoint.id, secret) for endpoint, secret in page] == [(ids[2], b"\x02"), (ids[1], b"\x01")]
        assert [endpoint.id for endpoint, _ in await storage.webhooks.list(ALICE, after=ids[1], limit=2)] == [ids[0]]
        with pytest.raises(NotFound):
            await storage.webhooks.list(BOB, after=ids[1], limit=2)

    async def test_nothing_of_another_tenants_can_be_reached(self, storage: Storage, samples: Samples) -> None:
        theirs = await added(storage, samples, tenant=BOB)
        await ended(storage, samples, tenant=BOB)
        delivery = await claimed_one(storage)
        webhooks = storage.webhooks
        for attempt in (
            webhooks.get(theirs, ALICE),
            webhooks.change(theirs, ALICE, EndpointChange(description="x")),
            webhooks.rotate(theirs, ALICE, b"x", 1),
            webhooks.remove(theirs, ALICE),
            webhooks.send_test(theirs, ALICE),
            webhooks.recover(theirs, ALICE, _LONG_AGO),
            webhooks.delivery(delivery.id, ALICE),
            webhooks.redeliver(delivery.id, ALICE),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert await logged(storage, endpoint_id=theirs) == []

    async def test_a_change_touches_what_it_names(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples, events=["response.failed"])
        changed = await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(description="new", events=[]))
        assert (changed.description, changed.events, changed.url, changed.is_enabled) == ("new", [], _URL, True)
        assert await storage.webhooks.change(endpoint_id, ALICE, EndpointChange()) == changed == await read(storage, endpoint_id)

    async def test_a_new_address_gets_what_still_waits(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(url="https://new.example/"))
        assert (await claimed_one(storage)).url == "https://new.example/"

    async def test_a_rotated_secret_signs_beside_the_old_one_for_a_while(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples, secret=b"old")
        await ended(storage, samples)
        rotated, secret, is_replay = await storage.webhooks.rotate(endpoint_id, ALICE, b"new", 3_600)
        assert (secret, is_replay) == (b"new", False)
        assert rotated.old_secret_until is not None
        assert timedelta(minutes=59) < rotated.old_secret_until - datetime.now(UTC) < timedelta(minutes=61)
        assert (await storage.webhooks.get(endpoint_id, ALICE))[1] == b"new"
        assert [each.sealed for each in (await claimed_one(storage)).secrets] == [b"new", b"old"]

    async def test_a_repeated_rotation_does_not_push_out_the_receivers_secret(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples, secret=b"old")
        await ended(storage, samples)
        once = Once("POST rotate", "k", "f")
        await storage.webhooks.rotate(endpoint_id, ALICE, b"new", 3_600, once=once)
        _, secret, is_replay = await storage.webhooks.rotate(endpoint_id, ALICE, b"newer", 3_600, once=once)
        assert (secret, is_replay) == (b"new", True)
        assert [each.sealed for each in (await claimed_one(storage)).secrets] == [b"new", b"old"]

    @pytest.mark.parametrize("overlap_s", [0.0, 0.01])
    async def test_an_old_secret_signs_no_longer_than_that(self, overlap_s: float, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples, secret=b"old")
        await ended(storage, samples)
        await storage.webhooks.rotate(endpoint_id, ALICE, b"new", overlap_s)
        await asyncio.sleep(2 * overlap_s)
        assert (await read(storage, endpoint_id)).old_secret_until is None
        assert [each.sealed for each in (await claimed_one(storage)).secrets] == [b"new"]

    async def test_a_removed_endpoint_leaves_its_log(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        await storage.webhooks.remove(endpoint_id, ALICE)
        with pytest.raises(NotFound):
            await storage.webhooks.get(endpoint_id, ALICE)
        (left,) = await logged(storage, endpoint_id=endpoint_id)
        assert (left.state, left.reason, left.next_attempt_at) == ("failed", "endpoint_removed", None)
        assert not await due(storage)
        with pytest.raises(Conflict, match="was removed"):
            await storage.webhooks.redeliver(DeliveryId(left.id), ALICE)


class SubscriptionConformance:
    """Who hears of a job."""

    async def test_each_subscriber_and_the_jobs_own_url_get_a_delivery(self, storage: Storage, samples: Samples) -> None:
        everything = await added(storage, samples)
        chosen = await added(storage, samples, events=["response.cancelled", "response.failed"])
        await added(storage, samples, events=["response.completed"])
        await added(storage, samples, tenant=BOB)
        job_id = await ended(storage, samples, webhook_url="https://own.example/")
        found = await due(storage)
        assert {(each.url, each.endpoint_id) for each in found} == {("https://own.example/", None), (_URL, everything), (_URL, chosen)}
        assert {each.job_id for each in found} == {job_id}
        assert len({each.id for each in found}) == 3
        assert all(body_of(each)["id"] == each.id for each in found)
        assert {bool(each.secrets) for each in found if each.endpoint_id is None} == {False}

    async def test_a_job_can_choose_among_the_endpoints(self, storage: Storage, samples: Samples) -> None:
        await added(storage, samples)
        wanted = await added(storage, samples)
        deaf = await added(storage, samples, events=["response.failed"])
        await ended(storage, samples, webhook_endpoints=[wanted, deaf])
        await ended(storage, samples, webhook_endpoints=[])
        assert [each.endpoint_id for each in await due(storage)] == [wanted]

    async def test_a_disabled_endpoint_hears_nothing(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(is_enabled=False))
        await ended(storage, samples)
        assert not await due(storage)

    async def test_the_body_is_thin_and_names_the_job(self, storage: Storage, samples: Samples) -> None:
        await added(storage, samples)
        job_id = await ended(storage, samples)
        body = body_of(await claimed_one(storage))
        last_seq = (await storage.jobs.get(job_id, ALICE)).last_seq
        assert (body["object"], body["type"]) == ("event", "response.cancelled")
        assert body["data"] == {"id": job_id, "job_id": job_id, "status": "cancelled", "sequence_number": last_seq, "metadata": {"order": "17"}}

    async def test_metadata_too_large_for_a_thin_body_are_left_out(self, storage: Storage, samples: Samples) -> None:
        await added(storage, samples)
        await ended(storage, samples, metadata={f"key{number}": "认" * 512 for number in range(16)})
        delivery = await claimed_one(storage)
        assert len(delivery.body) <= 20_000
        assert body_of(delivery)["data"]["metadata"] == {}

    async def test_a_test_goes_out_whatever_is_subscribed_to(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples, events=["response.failed"])
        once = Once("POST /test", "k", "f")
        queued, is_replay = await storage.webhooks.send_test(endpoint_id, ALICE, once=once)
        assert (await storage.webhooks.send_test(endpoint_id, ALICE, once=once)) == (queued, True)
        assert not is_replay
        delivery = await claimed_one(storage)
        assert (delivery.id, delivery.job_id, delivery.endpoint_id) == (queued.id, None, endpoint_id)
        assert (body_of(delivery)["type"], body_of(delivery)["data"]) == ("webhook_endpoint.test", {"endpoint_id": endpoint_id})
        await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(is_enabled=False))
        with pytest.raises(Conflict, match="is disabled; switch it on"):
            await storage.webhooks.send_test(endpoint_id, ALICE)


class DeliveryLogConformance:
    """What became of each delivery, and sending it again."""

    async def test_every_attempt_is_in_the_log(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        job_id = await ended(storage, samples)
        await fail(storage, await claimed_one(storage))
        await storage.outbox.succeed(await claimed_one(storage), _OK)
        (listed,) = await logged(storage, endpoint_id=endpoint_id, job_id=job_id, state="delivered")
        found = await storage.webhooks.delivery(DeliveryId(listed.id), ALICE)
        assert (found.state, found.tries, found.status_code, found.reason, found.type) == ("delivered", 2, 200, "http_200", "response.cancelled")
        assert (found.job_id, found.endpoint_id, found.url, found.next_attempt_at) == (job_id, endpoint_id, _URL, None)
        assert [(each.number, each.status_code, each.reason, each.seconds, each.answer) for each in found.attempts] == [
            (1, 500, "http_500", 0.5, "oops"),
            (2, 200, "http_200", 0.25, "thanks"),
        ]
        assert listed == found.model_copy(update={"attempts": []})

    async def test_the_log_is_listed_newest_first_and_filtered(self, storage: Storage, samples: Samples) -> None:
        one, two = await added(storage, samples), await added(storage, samples)
        jobs: list[JobId] = []
        for _ in range(3):
            jobs.append(await ended(storage, samples, webhook_endpoints=[one if len(jobs) < 2 else two]))
            await asyncio.sleep(0.002)
        page = await logged(storage, limit=2)
        assert [each.job_id for each in page] == [jobs[2], jobs[1]]
        assert [each.job_id for each in await logged(storage, after=page[-1].id)] == [jobs[0]]
        assert [each.job_id for each in await logged(storage, endpoint_id=one)] == [jobs[1], jobs[0]]
        assert [each.job_id for each in await logged(storage, job_id=jobs[0])] == [jobs[0]]
        assert not await logged(storage, state="failed")
        with pytest.raises(NotFound):
            await logged(storage, BOB, after=page[0].id)

    async def test_a_delivery_sent_again_keeps_its_id_and_begins_the_schedule_anew(self, storage: Storage, samples: Samples) -> None:
        await added(storage, samples)
        await ended(storage, samples)
        first = await claimed_one(storage)
        await storage.outbox.give_up(first, _BROKEN, disable_after_s=_NEVER_S)
        again = await storage.webhooks.redeliver(first.id, ALICE)
        assert (again.state, again.id, again.status_code, again.reason) == ("pending", first.id, None, None)
        second = await claimed_one(storage)
        assert (second.id, second.body, second.attempt, second.tries) == (first.id, first.body, 1, 2)
        await storage.outbox.succeed(second, _OK)
        await storage.webhooks.redeliver(first.id, ALICE)
        assert (await claimed_one(storage)).tries == 3

    async def test_a_jobs_own_url_can_be_sent_to_again(self, storage: Storage, samples: Samples) -> None:
        await ended(storage, samples, webhook_url=_URL)
        first = await claimed_one(storage)
        await storage.outbox.give_up(first, _GONE, disable_after_s=_NEVER_S, is_gone=True)
        await storage.webhooks.redeliver(first.id, ALICE)
        assert (await claimed_one(storage)).id == first.id

    async def test_recovery_sends_again_what_has_failed_since(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        other = await added(storage, samples)
        for _ in range(2):
            await ended(storage, samples, webhook_endpoints=[endpoint_id])
        await ended(storage, samples, webhook_endpoints=[other])
        found = await due(storage)
        await storage.outbox.succeed(found[0], _OK)
        for each in found[1:]:
            await storage.outbox.give_up(each, _BROKEN, disable_after_s=_NEVER_S)
        assert await storage.webhooks.recover(endpoint_id, ALICE, datetime.now(UTC) + timedelta(hours=1)) == 0
        assert await storage.webhooks.recover(endpoint_id, ALICE, _LONG_AGO) == 1
        assert [(each.id, each.attempt) for each in await due(storage)] == [(found[1].id, 1)]

    async def test_the_log_of_a_late_dispatcher_is_kept_and_changes_nothing(self, storage: Storage, samples: Samples) -> None:
        await added(storage, samples)
        await ended(storage, samples)
        late = await claimed_one(storage, _SHORT_S)
        await asyncio.sleep(2 * _SHORT_S)
        current = await claimed_one(storage)
        assert not await fail(storage, late, disable_after_s=0)
        assert not await due(storage)
        await storage.outbox.succeed(current, _OK)
        found = await storage.webhooks.delivery(late.id, ALICE)
        assert [(each.number, each.reason) for each in found.attempts] == [(1, "http_500"), (2, "http_200")]


class HealthConformance:
    """Endpoints that fail, and what disabling them sets off."""

    async def test_a_success_ends_a_run_of_failures(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        await fail(storage, await claimed_one(storage))
        since = (await read(storage, endpoint_id)).failing_since
        assert since is not None
        await fail(storage, await claimed_one(storage))
        assert (await read(storage, endpoint_id)).failing_since == since
        await storage.outbox.succeed(await claimed_one(storage), _OK)
        assert (await read(storage, endpoint_id)).failing_since is None

    async def test_an_endpoint_that_has_only_failed_for_long_is_disabled(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        assert not await fail(storage, await claimed_one(storage), disable_after_s=0.03)
        await asyncio.sleep(0.05)
        assert await fail(storage, await claimed_one(storage), disable_after_s=0.03)
        endpoint = await read(storage, endpoint_id)
        assert (endpoint.is_enabled, endpoint.disabled_reason) == (False, "failing")

    async def test_a_success_in_between_keeps_an_endpoint_on(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        await ended(storage, samples)
        one, two = await due(storage)
        await fail(storage, one, disable_after_s=0.03)
        await storage.outbox.succeed(two, _OK)
        await asyncio.sleep(0.05)
        assert not await fail(storage, await claimed_one(storage), disable_after_s=0.03)
        assert (await read(storage, endpoint_id)).is_enabled

    async def test_a_receiver_that_is_gone_is_disabled_at_once(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        await ended(storage, samples)
        gone, waiting = await due(storage)
        assert await storage.outbox.give_up(gone, _GONE, disable_after_s=_NEVER_S, is_gone=True)
        endpoint = await read(storage, endpoint_id)
        assert (endpoint.is_enabled, endpoint.disabled_reason) == (False, "gone")
        assert (await storage.webhooks.delivery(gone.id, ALICE)).reason == "http_410"
        left = await storage.webhooks.delivery(waiting.id, ALICE)
        assert (left.state, left.reason) == ("failed", "endpoint_disabled")

    async def test_a_defect_of_ours_does_not_count_against_an_endpoint(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        assert not await fail(storage, await claimed_one(storage), Answered(INTERNAL), disable_after_s=0)
        endpoint = await read(storage, endpoint_id)
        assert (endpoint.is_enabled, endpoint.failing_since) == (True, None)

    async def test_the_other_subscribers_hear_that_one_was_disabled(self, storage: Storage, samples: Samples) -> None:
        bad = await added(storage, samples, url="https://bad.example/")
        other = await added(storage, samples, url="https://other.example/")
        await added(storage, samples, url="https://deaf.example/", events=["response.failed"])
        await added(storage, samples, tenant=BOB)
        await ended(storage, samples, webhook_endpoints=[bad])
        assert await fail(storage, await claimed_one(storage), disable_after_s=0)
        told = await claimed_one(storage)
        assert (told.endpoint_id, told.url, told.job_id) == (other, "https://other.example/", None)
        assert (body_of(told)["type"], body_of(told)["data"]) == ("webhook_endpoint.disabled", {"endpoint_id": bad, "reason": "failing"})

    async def test_what_a_disabled_endpoint_missed_is_recovered_after_it_is_on_again(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        for _ in range(2):
            await ended(storage, samples)
        first, second = await due(storage)
        await fail(storage, first, disable_after_s=0)
        with pytest.raises(Conflict):
            await storage.webhooks.recover(endpoint_id, ALICE, _LONG_AGO)
        with pytest.raises(Conflict):
            await storage.webhooks.redeliver(second.id, ALICE)
        on = await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(is_enabled=True))
        assert (on.is_enabled, on.disabled_reason, on.failing_since) == (True, None, None)
        assert await storage.webhooks.recover(endpoint_id, ALICE, _LONG_AGO) == 2
        assert {each.id for each in await due(storage)} == {first.id, second.id}

    async def test_switching_off_by_hand_fails_what_waits(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        off = await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(is_enabled=False))
        assert (off.is_enabled, off.disabled_reason) == (False, "by_hand")
        (left,) = await logged(storage, endpoint_id=endpoint_id, state="failed")
        assert left.reason == "endpoint_disabled"

    async def test_switching_off_again_does_not_forget_why(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        await fail(storage, await claimed_one(storage), disable_after_s=0)
        off = await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(is_enabled=False))
        assert off.disabled_reason == "failing"

    async def test_a_success_that_comes_after_the_disabling_still_counts(self, storage: Storage, samples: Samples) -> None:
        endpoint_id = await added(storage, samples)
        await ended(storage, samples)
        delivery = await claimed_one(storage)
        await storage.webhooks.change(endpoint_id, ALICE, EndpointChange(is_enabled=False))
        await storage.outbox.succeed(delivery, _OK)
        assert (await storage.webhooks.delivery(delivery.id, ALICE)).state == "delivered"


class ReceiverConformance:
    """Fairness among receivers, and handing deliveries back."""

    async def test_a_claim_takes_at_most_so_many_of_one_receiver(self, storage: Storage, samples: Samples) -> None:
        for _ in range(5):
            await ended(storage, samples, webhook_url="https://slow.example/")
        await ended(storage, samples, webhook_url="https://quick.example/")
        found = await storage.outbox.claim(4, _LEASE_S, per_receiver=2)
        assert sorted(each.url for each in found) == ["https://quick.example/", "https://slow.example/", "https://slow.example/"]

    async def test_a_claim_heeds_the_room_of_busy_receivers(self, storage: Storage, samples: Samples) -> None:
        for host in ("full", "slow", "quick") * 3:
            await ended(storage, samples, webhook_url=f"https://{host}.example/")
        found = await storage.outbox.claim(9, _LEASE_S, per_receiver=2, room={"https://full.example/": 0, "https://slow.example/": 1})
        assert sorted(each.url for each in found) == ["https://quick.example/", "https://quick.example/", "https://slow.example/"]

    async def test_a_deferred_delivery_comes_back_untried(self, storage: Storage, samples: Samples) -> None:
        await ended(storage, samples, webhook_url=_URL)
        delivery = await claimed_one(storage)
        await storage.outbox.defer(delivery, _LEASE_S)
        assert not await due(storage)
        (waiting,) = await logged(storage)
        assert (waiting.state, waiting.tries) == ("pending", 0)
        await storage.webhooks.redeliver(delivery.id, ALICE)
        again = await claimed_one(storage)
        assert (again.attempt, again.tries) == (1, 1)

    async def test_a_delivery_that_is_claimed_over_and_over_is_given_up(self, storage: Storage, samples: Samples) -> None:
        await ended(storage, samples, webhook_url=_URL)
        claims = 0
        while found := await due(storage, 0.0):
            claims += len(found)
            assert claims < _MANY, "it is claimed for ever"
            await asyncio.sleep(0.002)
        (left,) = await logged(storage)
        assert (left.state, left.reason) == ("failed", INTERNAL)


class WebhookConformance(EndpointConformance, SubscriptionConformance, DeliveryLogConformance, HealthConformance, ReceiverConformance):
    """Everything about endpoints and deliveries."""
