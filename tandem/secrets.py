"""Secrets of an installation and the format of API tokens.

A secret given in the settings wins; else it is made once and kept under ``TANDEM_HOME/secrets`` (folder 0700, files 0600). A file appears whole
or not at all, so processes that start together agree on one value. Digests are keyed with the pepper: a stolen database opens no door.

Secrets that must be read again (those that sign an endpoint's webhooks) are sealed with a key made of the pepper, each for its owner's id.

Covered: other users of this machine, a copy of the database without its pepper, guessed and malformed tokens, sealed secrets moved from one owner to
another. Not covered: the same user's processes, root, backups of ``TANDEM_HOME``. This module knows nothing of who stores digests or sealed secrets,
or what a key may do.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tandem.errors import SettingsInvalid
from tandem.ids import KeyId
from tandem.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN_PREFIX: Final = "tdm_"  # noqa: S105 - the public start of every token, which lets secret scanners find a leaked one
_RANDOM_BYTES: Final = 32
_SEAL_VERSION: Final = b"\x01"
_SEAL_INFO: Final = b"tandem sealed secrets v1"
_NONCE_BYTES: Final = 12
_DIGITS: Final = "0-9a-hjkmnp-tv-z"
# 32 bytes are 43 characters of unpadded base64, the last of which carries 4 bits: one spelling per secret.
_TOKEN: Final = re.compile(rf"tdm_([{_DIGITS}]{{26}})\.([A-Za-z0-9_-]{{42}}[AEIMQUYcgkosw048])", re.ASCII)


class NewToken(NamedTuple):
    """A token and the secret part of it; masked in ``repr``."""

    token: str
    secret: str

    def __repr__(self) -> str:
        return "NewToken('**********')"


class ParsedToken(NamedTuple):
    """Whose token it claims to be, and its secret part; masked in ``repr``."""

    key_id: KeyId
    secret: str

    def __repr__(self) -> str:
        return f"ParsedToken({self.key_id!r}, '**********')"


def new_token(key_id: KeyId, random_bytes: Callable[[int], bytes] = os.urandom) -> NewToken:
    """A token for this key. Only ``digest(pepper, secret)`` is to be stored."""
    secret = _encode(random_bytes(_RANDOM_BYTES))
    return NewToken(f"{TOKEN_PREFIX}{key_id.removeprefix('key_')}.{secret}", secret)


def parse_token(token: str) -> ParsedToken | None:
    """The parts of a well-formed token, else None. Well-formed is not valid: compare digests with ``hmac.compare_digest``."""
    match = _TOKEN.fullmatch(token)
    return ParsedToken(KeyId(f"key_{match[1]}"), match[2]) if match else None


def digest(pepper: bytes, secret: str) -> bytes:
    """HMAC-SHA256 of a token's secret part, 32 bytes. A plain hash suffices for 256 random bits; the pepper ties it to this installation."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def seal(pepper: bytes, owner_id: str, secret: str, random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """The secret as the database may keep it: AES-256-GCM under a key derived from the pepper, bound to its owner's id."""
    nonce = random_bytes(_NONCE_BYTES)
    return _SEAL_VERSION + nonce + _sealing(pepper).encrypt(nonce, secret.encode(), owner_id.encode())


def unseal(pepper: bytes, owner_id: str, sealed: bytes) -> str:
    """The secret again.

    Raises:
        SettingsInvalid: It was sealed under another pepper, for another owner, or has been changed.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - 9 MB that few processes need

    nonce, cipher = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] == _SEAL_VERSION:
            return _sealing(pepper).decrypt(nonce, cipher, owner_id.encode()).decode()
    except (InvalidTag, ValueError):
        pass
    raise SettingsInvalid(
        f"the secret of {owner_id!r} cannot be opened: this process's pepper differs from the one that sealed it; give every process the same"
        " TANDEM_PEPPER (or TANDEM_HOME), or rotate the secret"
    )


def load_pepper(settings: Settings) -> bytes:
    """The key of ``digest``; the same for every process of an installation."""
    if settings.pepper:
        return settings.pepper.get_secret_value().encode()
    return _load_or_create(settings.home, "pepper", lambda: _encode(os.urandom(_RANDOM_BYTES))).encode()


def load_webhook_secret(settings: Settings) -> str:
    """The ``whsec_`` secret that signs deliveries to jobs' ``webhook_url``."""
    if settings.webhook_secret:
        return settings.webhook_secret.get_secret_value()
    return _load_or_create(settings.home, "webhook_secret", lambda: f"whsec_{base64.b64encode(os.urandom(_RANDOM_BYTES)).decode()}")


def load_local_key(settings: Settings) -> str | None:
    """The API token of this machine's own user, or None when none was made."""
    if settings.api_key:
        return settings.api_key.get_secret_value()
    path = _path(settings.home, "local_key")
    return _read(path) if path.exists() else None


def save_local_key(settings: Settings, token: str) -> None:
    """Keep the token for ``load_local_key``; replaces an earlier one."""
    path = _path(settings.home, "local_key")
    draft = _write_draft(path, token)
    draft.replace(path)


def _sealing(pepper: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return AESGCM(HKDF(SHA256(), 32, salt=None, info=_SEAL_INFO).derive(pepper))


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _path(home: Path, name: str) -> Path:
    return home / "secrets" / name


def _load_or_create(home: Path, name: str, make: Callable[[], str]) -> str:
    path = _path(home, name)
    if not path.exists():
        draft = _write_draft(path, make())
        # A hard link appears whole and fails when another process was first: whoever loses reads the winner's value.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return _read(path)


def _write_draft(path: Path, value: str) -> Path:
    """The value on disk beside its final place, under a name nobody else uses."""
    folder = path.parent
    draft = folder / f".{path.name}.{os.getpid()}.{os.urandom(6).hex()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{value}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SettingsInvalid(f"cannot write {str(path)!r}: {error.strerror}; TANDEM_HOME must be a writable folder of your own") from None
    return draft


def _read(path: Path) -> str:
    try:
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"cannot read the secret in {str(path)!r}: {type(error).__name__}; it must be a text file of your own") from None
    if not value:
        raise SettingsInvalid(f"the secret in {str(path)!r} is empty; restore it from a backup, or delete the file to make another")
    return value


__all__ = [
    "TOKEN_PREFIX",
    "NewToken",
    "ParsedToken",
    "digest",
    "load_local_key",
    "load_pepper",
    "load_webhook_secret",
    "new_token",
    "parse_token",
    "save_local_key",
    "seal",
    "unseal",
]
