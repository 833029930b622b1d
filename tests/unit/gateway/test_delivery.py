"""One webhook attempt: what is sent, how answers are judged, what is recorded."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.delivery import Courier, Verdict, retry_after_s
from tandem.egress import GuardedClient, Response
from tandem.errors import EgressDenied, StorageUnavailable
from tandem.ids import DeliveryId, JobId, TenantId
from tandem.ports import Clock, Delivery, Outbox
from tandem.webhooks import verify

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = bytes(range(32))


class FixedClock:
    """Always the same moment."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

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
        self.records: list[tuple[str, object]] = []

    async def claim(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        return []

    async def succeed(self, delivery: Delivery, status_code: int) -> None:
        self.records.append(("succeed", status_code))

    async def retry(self, delivery: Delivery, after_s: float, reason: str) -> None:
        self.records.append(("retry", (after_s, reason)))

    async def give_up(self, delivery: Delivery, reason: str) -> None:
        self.records.append(("give_up", reason))

    async def counts(self) -> Mapping[str, int]:
        return {}


def delivery(attempt: int = 1) -> Delivery:
    return Delivery(DeliveryId("dlv_1"), JobId("job_1"), TenantId("default"), "https://receiver.example/hook", b'{"a":1}', attempt)


def answer(status: int, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"", is_truncated=False)


def courier(outcome: Response | Exception) -> Courier:
    clock: Clock = FixedClock()
    return Courier(ScriptedClient(outcome), [KEY], clock, jitter=lambda: 0.0)


async def test_the_body_is_sent_as_stored_and_signed_for_this_attempt() -> None:
    client = ScriptedClient(answer(200))
    await Courier(client, [KEY], FixedClock()).attempt(delivery())
    ((url, headers, body),) = client.sent
    assert (url, body, headers["content-type"]) == ("https://receiver.example/hook", b'{"a":1}', "application/json")
    assert verify([KEY], headers, body, NOW.timestamp()) == "dlv_1"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (answer(200), Verdict("delivered", "http_200", 200)),
        (answer(204), Verdict("delivered", "http_204", 204)),
        (answer(410), Verdict("given_up", "http_410", 410)),
        (answer(301, location="https://elsewhere.example"), Verdict("retried", "http_301", 301, 5.0)),
        (answer(404), Verdict("retried", "http_404", 404, 5.0)),
        (answer(500), Verdict("retried", "http_500", 500, 5.0)),
        (answer(503, retry_after="60"), Verdict("retried", "http_503", 503, 60.0)),
        (answer(429, retry_after="86400"), Verdict("retried", "http_429", 429, 3600.0)),
        (answer(429, retry_after="soon"), Verdict("retried", "http_429", 429, 5.0)),
        (TimeoutError(), Verdict("retried", "timeout", None, 5.0)),
        (ConnectionError("ConnectError"), Verdict("retried", "connection_failed", None, 5.0)),
        (EgressDenied("no"), Verdict("retried", "egress_denied", None, 5.0)),
    ],
)
async def test_an_answer_decides_what_comes_next(outcome: Response | Exception, verdict: Verdict) -> None:
    assert await courier(outcome).attempt(delivery()) == verdict


async def test_the_tenth_failure_is_the_last() -> None:
    assert (await courier(answer(500)).attempt(delivery(attempt=9))).kind == "retried"
    assert await courier(answer(500)).attempt(delivery(attempt=10)) == Verdict("given_up", "http_500", 500)


async def test_jitter_spreads_the_next_attempt() -> None:
    early = Courier(ScriptedClient(answer(500)), [KEY], FixedClock(), jitter=lambda: -1.0)
    assert (await early.attempt(delivery())).after_s == 4.0


@pytest.mark.parametrize(
    ("outcome", "record"),
    [
        (answer(202), ("succeed", 202)),
        (answer(500), ("retry", (5.0, "http_500"))),
        (answer(410), ("give_up", "http_410")),
    ],
)
async def test_the_verdict_is_recorded_once(outcome: Response, record: tuple[str, object]) -> None:
    outbox = RecordingOutbox()
    port: Outbox = outbox
    await courier(outcome).deliver(delivery(), port)
    assert outbox.records == [record]


async def test_a_record_that_fails_is_not_swallowed() -> None:
    class Away(RecordingOutbox):
        async def succeed(self, delivery: Delivery, status_code: int) -> None:
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
