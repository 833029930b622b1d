"""One attempt at one webhook: sign, post through the guarded way out, judge the answer, record it.

2xx is delivered; 410 ends the delivery; everything else (3xx included: redirects are never followed) is tried again by the schedule until that is
exhausted. This module knows nothing of loops, leases or other deliveries. A receiver may see a delivery twice, with the same ``webhook-id``.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, Protocol

from tandem.egress import GuardedClient, Response
from tandem.errors import EgressDenied
from tandem.ports import Clock, Delivery, Outbox
from tandem.telemetry.logging import get_logger
from tandem.webhooks import retry_delay_s, signed_headers

USER_AGENT: Final = "Tandem-Webhooks/1"
_GONE: Final = 410
_log = get_logger(__name__)


class Schedule(Protocol):
    """When to try again; ``tandem.webhooks.retry_delay_s`` is the one in use."""

    def __call__(self, attempt: int, jitter: float, retry_after_s: float | None = None) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one attempt."""

    kind: Literal["delivered", "retried", "given_up"]
    reason: str
    """``http_<status>``, ``timeout``, ``connection_failed`` or ``egress_denied``; never text of the receiver's."""
    status_code: int | None = None
    after_s: float = 0.0
    """Seconds until the next attempt; only when retried."""


class Courier:
    """Makes attempts.

    Args:
        client: The guarded way out.
        keys: Signing keys; each signs, so that receivers can rotate.
        clock: Stamps the attempt.
        schedule: Delay before each attempt.
        jitter: Draws from -1..1.
    """

    def __init__(
        self,
        client: GuardedClient,
        keys: Sequence[bytes],
        clock: Clock,
        *,
        schedule: Schedule = retry_delay_s,
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 - spreads load, guards nothing
    ) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._schedule = schedule
        self._jitter = jitter

    async def deliver(self, delivery: Delivery, outbox: Outbox) -> Verdict:
        """One attempt and its record. Raises what the outbox raises; the delivery is then due again when its lease ends."""
        verdict = await self.attempt(delivery)
        match verdict.kind:
            case "delivered":
                await outbox.succeed(delivery, verdict.status_code or 0)
            case "retried":
                await outbox.retry(delivery, verdict.after_s, verdict.reason)
            case "given_up":
                await outbox.give_up(delivery, verdict.reason)
        log = _log.info if verdict.kind == "delivered" else _log.warning
        facts = {"delivery_id": delivery.id, "job_id": delivery.job_id, "attempt": delivery.attempt, "reason": verdict.reason}
        log(f"webhook_{verdict.kind}", **facts, after_s=verdict.after_s)
        return verdict

    async def attempt(self, delivery: Delivery) -> Verdict:
        """Post once and judge; never raises for what a receiver does."""
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            **signed_headers(self._keys, delivery.id, int(self._clock.now().timestamp()), delivery.body),
        }
        try:
            response = await self._client.post(delivery.url, headers, delivery.body)
        except EgressDenied:
            # Not final: names move, and an operator may list the host; each attempt is judged anew and nothing is dialled.
            return self._again(delivery, "egress_denied")
        except TimeoutError:
            return self._again(delivery, "timeout")
        except OSError:
            return self._again(delivery, "connection_failed")
        return self._judge(delivery, response)

    def _judge(self, delivery: Delivery, response: Response) -> Verdict:
        reason = f"http_{response.status}"
        if 200 <= response.status < 300:
            return Verdict("delivered", reason, response.status)
        if response.status == _GONE:
            return Verdict("given_up", reason, response.status)
        return self._again(delivery, reason, response.status, retry_after_s(response.headers.get("retry-after"), self._clock.now()))

    def _again(self, delivery: Delivery, reason: str, status_code: int | None = None, asked_s: float | None = None) -> Verdict:
        after_s = self._schedule(delivery.attempt + 1, self._jitter(), asked_s)
        if after_s is None:
            return Verdict("given_up", reason, status_code)
        return Verdict("retried", reason, status_code, after_s)


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


__all__ = ["Courier", "Schedule", "Verdict", "retry_after_s"]
