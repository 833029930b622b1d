"""Webhook signatures and the retry schedule, after Standard Webhooks 1.0.0 (https://www.standardwebhooks.com). Pure: no clock, no network.

A signature is ``v1,<base64 of HMAC-SHA256(secret, id.timestamp.body)>`` or ``v1a,<base64 of ed25519(secret, id.timestamp.body)>``; while a secret is
being rotated, one per live secret, separated by spaces. The body is signed as the exact bytes that are sent. Secrets are text: ``whsec_`` (shared),
``whsk_`` (ed25519, ours alone) and ``whpk_`` (its public half, for the receiver). This module knows nothing of who receives a webhook or where
deliveries are stored.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tandem.errors import AuthenticationFailed, SettingsInvalid
from tandem.schemas.webhooks import Signing

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_S: Final = 300
"""A timestamp further than this from the receiver's clock is refused, against replays."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the standard's public prefix
SIGNING_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"
_SECRET_BYTES: Final = range(24, 65)
_NEW_SECRET_BYTES: Final = 32
_ED25519_BYTES: Final = 32
_MAX_SIGNATURES: Final = 16
"""Signatures looked at in one header, so that a long one costs little."""
_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
RETRY_DELAYS_S: Final = (0.0, 5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
"""Seconds before attempt 1, 2, ... 10: 75.6 hours in all, the standard's example schedule carried on to three days."""
JITTER: Final = 0.2
"""Largest share by which a delay is moved, either way, so that receivers that failed together are not called together."""


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """The private half, which signs; masked in ``repr``."""

    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ed25519PublicKey:
    """The public half, which verifies."""

    raw: bytes


SigningKey = bytes | Ed25519Key
"""What signs: the bytes of a shared secret, or the private half of a pair."""
VerifyingKey = bytes | Ed25519PublicKey
"""What verifies: the bytes of a shared secret, or the public half of a pair."""


def new_secret(signing: Signing, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """A fresh ``whsec_`` or ``whsk_`` secret."""
    prefix = SECRET_PREFIX if signing == "hmac" else SIGNING_PREFIX
    return prefix + base64.b64encode(random_bytes(_NEW_SECRET_BYTES if signing == "hmac" else _ED25519_BYTES)).decode()


def parse_secret(text: str) -> bytes:
    """The key bytes of a ``whsec_`` secret.

    Raises:
        SettingsInvalid: No such prefix, no base64, or not 24 to 64 bytes. The message never holds the value.
    """
    remedy = "a webhook secret is 'whsec_' and the base64 of 24 to 64 random bytes, as scripts/generate-secrets.sh makes one"
    key = _decode_secret(text, SECRET_PREFIX, remedy)
    if len(key) not in _SECRET_BYTES:
        raise SettingsInvalid(f"the webhook secret holds {len(key)} bytes: {remedy}")
    return key


def parse_signing_key(text: str) -> SigningKey:
    """The key of a ``whsec_`` or ``whsk_`` secret. Raises ``SettingsInvalid``, never with the value."""
    return Ed25519Key(_decode_ed25519(text, SIGNING_PREFIX)) if text.startswith(SIGNING_PREFIX) else parse_secret(text)


def parse_verifying_key(text: str) -> VerifyingKey:
    """The key of a ``whsec_`` secret or a ``whpk_`` public key. Raises ``SettingsInvalid``, never with the value."""
    return Ed25519PublicKey(_decode_ed25519(text, PUBLIC_PREFIX)) if text.startswith(PUBLIC_PREFIX) else parse_secret(text)


def public_key(secret: str) -> str | None:
    """The ``whpk_`` key that belongs to a ``whsk_`` secret; None for a shared one, which has no public half."""
    key = parse_signing_key(secret)
    if isinstance(key, bytes):
        return None
    return PUBLIC_PREFIX + base64.b64encode(_ed25519_public(key)).decode()


def sign(keys: Sequence[SigningKey], message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header: one signature per key. ``timestamp`` is that of this attempt, in Unix seconds."""
    if not keys:
        raise ValueError("at least one signing key is needed")
    if "." in message_id:
        raise ValueError(f"message id {message_id!r} holds a dot, which separates the signed parts")
    content = _content(message_id, timestamp, body)
    return " ".join(f"{_version(key)},{base64.b64encode(_signature(key, content)).decode()}" for key in keys)


def signed_headers(keys: Sequence[SigningKey], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt."""
    return {ID_HEADER: message_id, TIMESTAMP_HEADER: str(timestamp), SIGNATURE_HEADER: sign(keys, message_id, timestamp, body)}


def verify(keys: Sequence[VerifyingKey], headers: Mapping[str, str], body: bytes, now: float, tolerance_s: float = TOLERANCE_S) -> str:
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
    content = _content(lower[ID_HEADER], int(stamp), body)
    given = [_decode_signature(part) for part in lower[SIGNATURE_HEADER].split(" ")[:_MAX_SIGNATURES]]
    if not any(_matches(key, content, signature) for key in keys for version, signature in given if version == _version(key)):
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


def _content(message_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _version(key: SigningKey | VerifyingKey) -> str:
    return "v1" if isinstance(key, bytes) else "v1a"


def _signature(key: SigningKey, content: bytes) -> bytes:
    if isinstance(key, bytes):
        return hmac.digest(key, content, hashlib.sha256)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - 9 MB that few processes need

    return Ed25519PrivateKey.from_private_bytes(key.seed).sign(content)


def _matches(key: VerifyingKey, content: bytes, signature: bytes) -> bool:
    if isinstance(key, bytes):
        return hmac.compare_digest(hmac.digest(key, content, hashlib.sha256), signature)
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _ed25519_public(key: Ed25519Key) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as above

    return Ed25519PrivateKey.from_private_bytes(key.seed).public_key().public_bytes_raw()


def _decode_ed25519(text: str, prefix: str) -> bytes:
    remedy = f"an ed25519 key is {prefix!r} and the base64 of {_ED25519_BYTES} bytes"
    key = _decode_secret(text, prefix, remedy)
    if len(key) != _ED25519_BYTES:
        raise SettingsInvalid(f"the webhook key holds {len(key)} bytes: {remedy}")
    return key


def _decode_secret(text: str, prefix: str, remedy: str) -> bytes:
    if not text.startswith(prefix):
        raise SettingsInvalid(f"the webhook secret does not start with {prefix!r}: {remedy}")
    encoded = text.removeprefix(prefix)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsInvalid(f"the webhook secret is not base64 after {prefix!r}: {remedy}") from None


def _decode_signature(part: str) -> tuple[str, bytes]:
    """Version and bytes of a signature; no bytes, which match nothing, for garbage."""
    version, _, encoded = part.partition(",")
    try:
        return version, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return version, b""


__all__ = [
    "ID_HEADER",
    "PUBLIC_PREFIX",
    "RETRY_DELAYS_S",
    "SECRET_PREFIX",
    "SIGNATURE_HEADER",
    "SIGNING_PREFIX",
    "TIMESTAMP_HEADER",
    "TOLERANCE_S",
    "Ed25519Key",
    "Ed25519PublicKey",
    "SigningKey",
    "VerifyingKey",
    "new_secret",
    "parse_secret",
    "parse_signing_key",
    "parse_verifying_key",
    "public_key",
    "retry_delay_s",
    "sign",
    "signed_headers",
    "verify",
]
