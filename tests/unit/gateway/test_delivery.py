"""One webhook attempt: what is sent and signed, how answers are judged, what is recorded."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.delivery import MAX_ANSWER_BYTES, UNREADABLE_S, Courier, Keyring, Verdict, retry_after_s, shown
from tandem.egress import GuardedClient, Response
from tandem.errors import AuthenticationFailed, EgressDenied, StorageUnavailable
from tandem.ids import DeliveryId, EndpointId, JobId, TenantId
from tandem.ports import INTERNAL, Answered, Clock, Delivery, Outbox, SealedSecret
from tandem.schemas.webhooks import Signing
from tandem.secrets import seal
from tandem.webhooks import new_secret, parse_verifying_key, public_key, verify

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = bytes(range(32))
PEPPER = b"pepper"
ENDPOINT = EndpointId("whe_1")
DISABLE_AFTER_S = 99.0


class TickingClock:
    """Each reading of the monotonic clock is a quarter of a second after the one before."""

    def __init__(self) -> None:
        self._reading = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        self._reading += 0.25
        return self._reading

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("an attempt never sleeps")


class ScriptedClient(GuardedClient):
    """Answers what it is told and keeps what it was given."""

    def __init__(self, outcome: Response | Exception) -> None:
        self._outcome = outcome
        self.sent: list[tuple[str, Mapping[str, str], bytes]] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, max_response_bytes: int = 65_536) -> Response:
        self.sent.append((url, headers, body))
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class RecordingOutbox:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.records: list[tuple[object, ...]] = []

    async def claim(self, limit: int, lease_s: float, *, per_receiver: int = 32, room: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        return []

    async def defer(self, delivery: Delivery, after_s: float) -> None:
        self.records.append(("defer", after_s))

    async def succeed(self, delivery: Delivery, answered: Answered) -> None:
        self.records.append(("succeed", answered.reason))

    async def retry(self, delivery: Delivery, after_s: float, answered: Answered, *, disable_after_s: float) -> bool:
        self.records.append(("retry", answered.reason, after_s, disable_after_s))
        return True

    async def give_up(self, delivery: Delivery, answered: Answered, *, disable_after_s: float, is_gone: bool = False) -> bool:
        self.records.append(("give_up", answered.reason, disable_after_s, is_gone))
        return is_gone

    async def counts(self) -> Mapping[str, int]:
        return {}


def delivery(attempt: int = 1, *secrets: SealedSecret) -> Delivery:
    endpoint_id = ENDPOINT if secrets else None
    return Delivery(
        DeliveryId("dlv_1"),
        JobId("job_1"),
        TenantId("default"),
        "https://receiver.example/hook",
        b'{"a":1}',
        attempt,
        endpoint_id=endpoint_id,
        secrets=secrets,
    )


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, is_truncated=False)


def courier(client: Response | Exception | ScriptedClient, *, jitter: float = 0.0) -> Courier:
    clock: Clock = TickingClock()
    scripted = client if isinstance(client, ScriptedClient) else ScriptedClient(client)
    return Courier(scripted, Keyring([KEY], PEPPER), clock, disable_after_s=DISABLE_AFTER_S, jitter=lambda: jitter)


async def attempt(outcome: Response | Exception, number: int = 1) -> Verdict:
    return await courier(outcome).attempt(delivery(number), [KEY])


def sealed(signing: Signing, secret: str) -> SealedSecret:
    return SealedSecret(signing, seal(PEPPER, ENDPOINT, secret))


async def test_the_body_is_sent_as_stored_and_signed_for_this_attempt() -> None:
    client = ScriptedClient(answer(200))
    await courier(client).deliver(delivery(), RecordingOutbox())
    ((url, headers, body),) = client.sent
    assert (url, body, headers["content-type"]) == ("https://receiver.example/hook", b'{"a":1}', "application/json")
    assert verify([KEY], headers, body, NOW.timestamp()) == "dlv_1"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))


@pytest.mark.parametrize("signing", ["hmac", "ed25519"])
async def test_every_live_secret_of_an_endpoint_signs_and_the_platforms_does_not(signing: Signing) -> None:
    client = ScriptedClient(answer(200))
    new, old = new_secret(signing), new_secret(signing)
    await courier(client).deliver(delivery(1, sealed(signing, new), sealed(signing, old)), RecordingOutbox())
    ((_, headers, body),) = client.sent
    assert headers["webhook-signature"].count(" ") == 1
    for secret in (new, old):
        assert verify([parse_verifying_key(public_key(secret) or secret)], headers, body, NOW.timestamp()) == "dlv_1"
    with pytest.raises(AuthenticationFailed):
        verify([KEY], headers, body, NOW.timestamp())


async def test_a_secret_that_cannot_be_opened_defers_the_delivery_and_sends_nothing() -> None:
    client, outbox = ScriptedClient(answer(200)), RecordingOutbox()
    foreign = SealedSecret("hmac", seal(b"another pepper", ENDPOINT, new_secret("hmac")))
    verdict = await courier(client).deliver(delivery(1, foreign), outbox)
    assert (verdict.kind, client.sent, outbox.records) == ("deferred", [], [("defer", UNREADABLE_S)])


@pytest.mark.parametrize(
    ("outcome", "kind", "reason", "status_code", "after_s"),
    [
        (answer(200), "delivered", "http_200", 200, 0.0),
        (answer(204), "delivered", "http_204", 204, 0.0),
        (answer(410), "given_up", "http_410", 410, 0.0),
        (answer(301, location="https://elsewhere.example"), "retried", "http_301", 301, 5.0),
        (answer(404), "retried", "http_404", 404, 5.0),
        (answer(500), "retried", "http_500", 500, 5.0),
        (answer(503, retry_after="60"), "retried", "http_503", 503, 60.0),
        (answer(429, retry_after="86400"), "retried", "http_429", 429, 3600.0),
        (answer(429, retry_after="soon"), "retried", "http_429", 429, 5.0),
        (TimeoutError(), "retried", "timeout", None, 5.0),
        (ConnectionError("ConnectError"), "retried", "connection_failed", None, 5.0),
        (EgressDenied("no"), "retried", "egress_denied", None, 5.0),
    ],
)
async def test_an_answer_decides_what_comes_next(
    outcome: Response | Exception, kind: str, reason: str, status_code: int | None, after_s: float
) -> None:
    verdict = await attempt(outcome)
    assert (verdict.kind, verdict.answered.reason, verdict.answered.status_code, verdict.after_s) == (kind, reason, status_code, after_s)


async def test_the_tenth_failure_is_the_last() -> None:
    assert (await attempt(answer(500), 9)).kind == "retried"
    assert (await attempt(answer(500), 10)).kind == "given_up"


async def test_jitter_spreads_the_next_attempt() -> None:
    assert (await courier(answer(500), jitter=-1.0).attempt(delivery(), [KEY])).after_s == 4.0


@pytest.mark.parametrize("outcome", [answer(200), answer(500), TimeoutError()])
async def test_the_duration_is_measured_whatever_happens(outcome: Response | Exception) -> None:
    assert (await attempt(outcome)).answered.seconds == 0.25


async def test_the_start_of_the_answer_is_kept() -> None:
    assert (await attempt(answer(500, b"no such table\n"))).answered.answer == "no such table\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"a\x00b\x1b[31mc\r\n\td\x7f", "ab[31mc\n\td"),
        ("认真".encode(), "认真"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 5_000, "x" * MAX_ANSWER_BYTES),
        ("é".encode() * 4_000, "é" * 2_048),
    ],
    ids=["empty", "control", "chinese", "binary", "long", "wide"],
)
def test_an_answer_is_shown_as_clean_text(body: bytes, text: str) -> None:
    assert shown(body) == text


@pytest.mark.parametrize(
    ("outcome", "record"),
    [
        (answer(202), ("succeed", "http_202")),
        (answer(500), ("retry", "http_500", 5.0, DISABLE_AFTER_S)),
        (answer(410), ("give_up", "http_410", DISABLE_AFTER_S, True)),
    ],
)
async def test_the_verdict_is_recorded_once(outcome: Response, record: tuple[object, ...]) -> None:
    outbox = RecordingOutbox()
    port: Outbox = outbox
    await courier(outcome).deliver(delivery(), port)
    assert outbox.records == [record]


async def test_running_out_of_attempts_is_not_being_gone() -> None:
    outbox = RecordingOutbox()
    await courier(answer(500)).deliver(delivery(10), outbox)
    assert outbox.records == [("give_up", "http_500", DISABLE_AFTER_S, False)]


async def test_a_defect_of_ours_costs_an_attempt_of_the_schedule() -> None:
    outbox = RecordingOutbox()
    await courier(ValueError("a bug")).deliver(delivery(), outbox)
    await courier(ValueError("a bug")).deliver(delivery(10), outbox)
    assert outbox.records == [("retry", INTERNAL, 5.0, DISABLE_AFTER_S), ("give_up", INTERNAL, DISABLE_AFTER_S, False)]


async def test_a_record_that_fails_is_not_swallowed() -> None:
    class Away(RecordingOutbox):
        async def succeed(self, delivery: Delivery, answered: Answered) -> None:
            raise StorageUnavailable("away")

    with pytest.raises(StorageUnavailable):
        await courier(answer(200)).deliver(delivery(), Away())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", None),
        ("1.5", None),
        ("9" * 400, None),
        ("٣", None),
        ("tomorrow", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds
