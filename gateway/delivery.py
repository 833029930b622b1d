"""One attempt at one webhook: sign, post through the guarded way out, judge the answer, record it.

2xx is delivered; 410 ends the delivery; everything else (3xx included: redirects are never followed) is tried again by the schedule until that is
exhausted. A delivery whose secret cannot be opened waits for the operator and costs no attempt; one that breaks this code costs one, so that it ends
too. This module knows nothing of loops, leases or other deliveries. A receiver may see a delivery twice, with the same ``webhook-id``.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, Protocol

from tandem.egress import GuardedClient, Response
from tandem.errors import EgressDenied, SettingsInvalid
from tandem.ports import INTERNAL, Answered, Clock, Delivery, Outbox
from tandem.secrets import load_pepper, load_webhook_secret, unseal
from tandem.settings import Settings
from tandem.telemetry.logging import get_logger
from tandem.webhooks import SigningKey, parse_secret, parse_signing_key, retry_delay_s, signed_headers

USER_AGENT: Final = "Tandem-Webhooks/1"
UNREADABLE_S: Final = 60.0
"""Wait before the secret of an endpoint, which could not be opened, is tried again."""
MAX_ANSWER_BYTES: Final = 4_096
"""What the log keeps of a receiver's answer."""
_GONE: Final = 410
_log = get_logger(__name__)


class Schedule(Protocol):
    """When to try again; ``tandem.webhooks.retry_delay_s`` is the one in use."""

    def __call__(self, attempt: int, jitter: float, retry_after_s: float | None = None) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one attempt."""

    kind: Literal["delivered", "retried", "given_up", "deferred"]
    """``deferred``: nothing was sent, and no attempt is counted."""
    answered: Answered
    after_s: float = 0.0
    """Seconds until the next attempt; only when retried or deferred."""
    asked_s: float | None = None
    """What the receiver's ``Retry-After`` asked for."""


class Keyring:
    """Finds the keys that sign a delivery.

    Args:
        platform: Keys for jobs' own ``webhook_url``; each signs, so that receivers can rotate.
        pepper: Opens the sealed secrets of endpoints.
    """

    def __init__(self, platform: Sequence[SigningKey], pepper: bytes) -> None:
        self._platform = platform
        self._pepper = pepper

    @classmethod
    def load(cls, settings: Settings) -> "Keyring":
        """The installation's. Raises ``SettingsInvalid`` when the platform's secret is malformed."""
        return cls([parse_secret(load_webhook_secret(settings))], load_pepper(settings))

    def keys_of(self, delivery: Delivery) -> Sequence[SigningKey]:
        """Every live key of the receiver, newest first. Raises ``SettingsInvalid`` when one cannot be opened."""
        endpoint_id = delivery.endpoint_id
        if endpoint_id is None:
            return self._platform
        return [parse_signing_key(unseal(self._pepper, endpoint_id, secret.sealed)) for secret in delivery.secrets]


class Courier:
    """Makes attempts.

    Args:
        client: The guarded way out.
        keyring: Signing keys.
        clock: Stamps the attempt.
        disable_after_s: An endpoint that has only failed for so long is switched off.
        schedule: Delay before each attempt.
        jitter: Draws from -1..1.
    """

    def __init__(
        self,
        client: GuardedClient,
        keyring: Keyring,
        clock: Clock,
        *,
        disable_after_s: float,
        schedule: Schedule = retry_delay_s,
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 - spreads load, guards nothing
    ) -> None:
        self._client = client
        self._keyring = keyring
        self._clock = clock
        self._disable_after_s = disable_after_s
        self._schedule = schedule
        self._jitter = jitter

    async def deliver(self, delivery: Delivery, outbox: Outbox) -> Verdict:
        """One attempt and its record. Raises what the outbox raises; the delivery is then due again when its lease ends."""
        verdict = await self._judged(delivery)
        await self._record(delivery, verdict, outbox)
        log = _log.info if verdict.kind == "delivered" else _log.warning
        facts = {"delivery_id": delivery.id, "job_id": delivery.job_id, "endpoint_id": delivery.endpoint_id, "attempt": delivery.attempt}
        log(f"webhook_{verdict.kind}", **facts, reason=verdict.answered.reason, after_s=verdict.after_s)
        return verdict

    async def attempt(self, delivery: Delivery, keys: Sequence[SigningKey]) -> Verdict:
        """Post once and judge; never raises for what a receiver does."""
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            **signed_headers(keys, delivery.id, int(self._clock.now().timestamp()), delivery.body),
        }
        started = self._clock.monotonic()
        try:
            response = await self._client.post(delivery.url, headers, delivery.body)
        except EgressDenied:
            # Not final: names move, and an operator may list the host; each attempt is judged anew and nothing is dialled.
            reason = "egress_denied"
        except TimeoutError:
            reason = "timeout"
        except OSError:
            reason = "connection_failed"
        else:
            return self._judge(delivery, response, self._clock.monotonic() - started)
        return self._again(delivery, Answered(reason, seconds=self._clock.monotonic() - started))

    async def _judged(self, delivery: Delivery) -> Verdict:
        try:
            keys = self._keyring.keys_of(delivery)
        except SettingsInvalid as error:
            _log.error("webhook_secret_unreadable", endpoint_id=delivery.endpoint_id, error=error.message)
            return Verdict("deferred", Answered("secret_unreadable"), UNREADABLE_S)
        try:
            return await self.attempt(delivery, keys)
        except Exception:  # noqa: BLE001 - told with its traceback, and counted by the schedule: it must not be repeated without end
            _log.exception("webhook_defect")
            return self._again(delivery, Answered(INTERNAL))

    async def _record(self, delivery: Delivery, verdict: Verdict, outbox: Outbox) -> None:
        answered, is_disabled = verdict.answered, False
        match verdict.kind:
            case "delivered":
                await outbox.succeed(delivery, answered)
            case "retried":
                is_disabled = await outbox.retry(delivery, verdict.after_s, answered, disable_after_s=self._disable_after_s)
            case "given_up":
                is_gone = answered.status_code == _GONE
                is_disabled = await outbox.give_up(delivery, answered, disable_after_s=self._disable_after_s, is_gone=is_gone)
            case "deferred":
                await outbox.defer(delivery, verdict.after_s)
        if is_disabled:
            _log.error("webhook_endpoint_disabled", endpoint_id=delivery.endpoint_id, reason=answered.reason)

    def _judge(self, delivery: Delivery, response: Response, seconds: float) -> Verdict:
        answered = Answered(f"http_{response.status}", response.status, seconds, shown(response.body))
        if 200 <= response.status < 300:
            return Verdict("delivered", answered)
        if response.status == _GONE:
            return Verdict("given_up", answered)
        return self._again(delivery, answered, retry_after_s(response.headers.get("retry-after"), self._clock.now()))

    def _again(self, delivery: Delivery, answered: Answered, asked_s: float | None = None) -> Verdict:
        after_s = self._schedule(delivery.attempt + 1, self._jitter(), asked_s)
        if after_s is None:
            return Verdict("given_up", answered, asked_s=asked_s)
        return Verdict("retried", answered, after_s, asked_s)


def shown(body: bytes) -> str:
    """The start of a receiver's answer as text for the log, without the control characters that databases and terminals take amiss."""
    text = body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds asked for by a ``Retry-After`` header (number or HTTP date); None when absent or malformed."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())


__all__ = ["MAX_ANSWER_BYTES", "UNREADABLE_S", "Courier", "Keyring", "Schedule", "Verdict", "retry_after_s", "shown"]
