"""Webhook signatures and the retry schedule, after Standard Webhooks 1.0.0 (https://www.standardwebhooks.com). Pure: no clock, no network.

A signature is ``v1,<base64 of HMAC-SHA256(secret, id.timestamp.body)>``; while a secret is being rotated, one per live secret, separated by
spaces. The body is signed as the exact bytes that are sent. This module knows nothing of who receives a webhook or where deliveries are stored.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from tandem.errors import AuthenticationFailed, SettingsInvalid

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_S: Final = 300
"""A timestamp further than this from the receiver's clock is refused, against replays."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the standard's public prefix
_SECRET_BYTES: Final = range(24, 65)
_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
RETRY_DELAYS_S: Final = (0.0, 5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
"""Seconds before attempt 1, 2, ... 10: 75.6 hours in all, the standard's example schedule carried on to three days."""
JITTER: Final = 0.2
"""Largest share by which a delay is moved, either way, so that receivers that failed together are not called together."""


def parse_secret(text: str) -> bytes:
    """The key bytes of a ``whsec_`` secret.

    Raises:
        SettingsInvalid: No such prefix, no base64, or not 24 to 64 bytes. The message never holds the value.
    """
    remedy = "a webhook secret is 'whsec_' and the base64 of 24 to 64 random bytes, as scripts/generate-secrets.sh makes one"
    if not text.startswith(SECRET_PREFIX):
        raise SettingsInvalid(f"the webhook secret does not start with {SECRET_PREFIX!r}: {remedy}")
    encoded = text.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsInvalid(f"the webhook secret is not base64 after {SECRET_PREFIX!r}: {remedy}") from None
    if len(key) not in _SECRET_BYTES:
        raise SettingsInvalid(f"the webhook secret holds {len(key)} bytes: {remedy}")
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header: one signature per key. ``timestamp`` is that of this attempt, in Unix seconds."""
    if not keys:
        raise ValueError("at least one signing key is needed")
    if "." in message_id:
        raise ValueError(f"message id {message_id!r} holds a dot, which separates the signed parts")
    return " ".join(f"v1,{base64.b64encode(_mac(key, message_id, timestamp, body)).decode()}" for key in keys)


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt."""
    return {ID_HEADER: message_id, TIMESTAMP_HEADER: str(timestamp), SIGNATURE_HEADER: sign(keys, message_id, timestamp, body)}


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float, tolerance_s: float = TOLERANCE_S) -> str:
    """Check a received webhook and return its id; drop ids already seen, since a delivery may come more than once.

    Args:
        keys: Accepted keys; one matching signature suffices.
        headers: The request's headers, in any case.
        body: The exact bytes received.
        now: Unix seconds.
        tolerance_s: Largest distance of the timestamp from ``now``.

    Raises:
        AuthenticationFailed: A header is missing or malformed, the timestamp too far, or no signature matches.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if not lower.get(name)]
    if missing:
        raise AuthenticationFailed(f"the webhook lacks the header {missing[0]!r}")
    stamp = lower[TIMESTAMP_HEADER]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise AuthenticationFailed(f"the webhook's timestamp {stamp[:32]!r} is not in Unix seconds")
    if abs(now - int(stamp)) > tolerance_s:
        raise AuthenticationFailed(f"the webhook's timestamp {stamp} is more than {tolerance_s:g} s from now; compare the clocks")
    expected = [_mac(key, lower[ID_HEADER], int(stamp), body) for key in keys]
    given = [_decode_signature(part) for part in lower[SIGNATURE_HEADER].split(" ")[:16]]
    if not any(hmac.compare_digest(mine, theirs) for mine in expected for theirs in given):
        raise AuthenticationFailed("no signature of the webhook matches; compare the secrets, and verify the raw body before parsing it")
    return lower[ID_HEADER]


def retry_delay_s(attempt: int, jitter: float, retry_after_s: float | None = None) -> float | None:
    """Seconds to wait before this attempt; None when there is no further one.

    Args:
        attempt: 1 for the first, which is not delayed.
        jitter: -1..1, drawn evenly by the caller; moves the delay by at most ``JITTER``.
        retry_after_s: What the receiver asked for; honoured between the scheduled delay and the larger of its double and one hour.
    """
    if attempt < 1:
        raise ValueError(f"attempts count from 1, got {attempt!r}")
    if attempt > len(RETRY_DELAYS_S):
        return None
    delay = RETRY_DELAYS_S[attempt - 1] * (1 + JITTER * max(-1.0, min(1.0, jitter)))
    if retry_after_s is None or attempt == 1:
        return delay
    return min(max(delay, retry_after_s), max(2 * delay, _HOUR))


def _mac(key: bytes, message_id: str, timestamp: int, body: bytes) -> bytes:
    return hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)


def _decode_signature(part: str) -> bytes:
    """The bytes of a ``v1`` signature; empty, which matches nothing, for other versions and for garbage."""
    version, _, encoded = part.partition(",")
    if version != "v1":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""


__all__ = [
    "ID_HEADER",
    "RETRY_DELAYS_S",
    "SECRET_PREFIX",
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "TOLERANCE_S",
    "parse_secret",
    "retry_delay_s",
    "sign",
    "signed_headers",
    "verify",
]
