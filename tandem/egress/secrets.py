"""The operator's list of hosts that may be called with a secret: what may be asked there, and what is sent along.

The file holds no secret, only where each one lies; a secret is read once, put into requests for its own host by the guarded client, and masked in
what comes back.

Covered: a secret for another host, also by a redirect; over plain http to a public host; another method or path than listed, dot segments and encoded
slashes included; a value that a server echoes plainly, percent-encoded or in base64; files that others may read or write. Not covered: a server that
transforms the secret it was given before it echoes it; the process's own memory.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tandem.egress.gate import FRAMING
from tandem.egress.judgement import PUBLIC_WEB, EgressRules, Origin, Target, origin_of
from tandem.errors import EgressDenied, SettingsInvalid

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
MASK: Final = b"[secret]"
MIN_SECRET_CHARS: Final = 8
"""A shorter one could not be masked without tearing ordinary text."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
_HIDDEN_SEPARATOR: Final = re.compile(r"%(?:2f|5c|00|25)", re.IGNORECASE)


class ListedHost(BaseModel):
    """A host of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: Annotated[list[Method], Field(min_length=1)]
    paths: Annotated[list[Annotated[str, Field(pattern=r"^/[!-~]*$")]], Field(min_length=1)] = ["/"]
    """``/v1/`` is everything below it, ``/v1/items`` exactly that."""
    header: str | None = None
    """Which header carries the secret."""
    prefix: str = ""
    """Stands before the secret in that header, such as ``Bearer``."""
    secret_env: str | None = None
    secret_file: str | None = None
    private: bool = False
    """The host may be reached although its addresses are private, and over plain http."""

    @model_validator(mode="after")
    def _one_secret_for_its_header(self) -> Self:
        sources = [source for source in (self.secret_env, self.secret_file) if source is not None]
        if len(sources) != (1 if self.header is not None else 0):
            raise ValueError("a 'header' needs exactly one of 'secret_env' and 'secret_file', and neither is read without it")
        if self.header is not None and (not _TOKEN.fullmatch(self.header) or self.header.lower() in FRAMING):
            raise ValueError(f"{self.header!r} is no header that can carry a secret; use 'Authorization' or one of the server's own")
        return self


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: dict[str, ListedHost]


@dataclass(frozen=True, slots=True)
class Secret:
    """A header for one host; its value is masked in ``repr``."""

    header: str
    value: str = field(repr=False)
    """With its prefix."""
    token: str = field(repr=False)

    @property
    def longest(self) -> int:
        """Bytes of its longest spelling that is masked."""
        return max(len(spelling) for spelling in self._spellings())

    def masked(self, content: bytes) -> bytes:
        """The content without the secret, however it is commonly spelled."""
        for spelling in self._spellings():
            content = content.replace(spelling, MASK)
        return content

    def _spellings(self) -> Sequence[bytes]:
        token = self.token.encode()
        spellings = {token, quote(self.token, safe="").encode(), json.dumps(self.token)[1:-1].encode()}
        spellings |= {base64.b64encode(each) for each in (token, self.value.encode())}
        spellings |= {base64.urlsafe_b64encode(each) for each in (token, self.value.encode())}
        return sorted(spellings, key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class _Entry:
    origin: Origin
    listed: ListedHost
    secret: Secret | None


class SecretBook:
    """Which requests the operator allows, and the secrets that go with them."""

    def __init__(self, entries: Sequence[_Entry] = ()) -> None:
        self._entries = {(entry.origin.host, entry.origin.port): entry for entry in entries}

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> "SecretBook":
        """Read the file and every secret it names.

        Raises:
            SettingsInvalid: It is missing, malformed or open to others, or a secret cannot be read; the message names the key and the remedy.
        """
        hosts = _parsed(path).hosts
        return cls([entry for host, listed in hosts.items() for entry in _entries(path, host, listed, environ)])

    @property
    def rules(self) -> EgressRules:
        """Where the listed hosts may be reached: as public ones, and the private among them at their own origin."""
        private = (entry.origin for entry in self._entries.values() if entry.listed.private)
        operated = frozenset(Origin(scheme, origin.host, origin.port) for origin in private for scheme in ("https", "http"))
        return EgressRules(https=PUBLIC_WEB.https | self._ports, http=PUBLIC_WEB.http, operated=operated)

    def listed(self, methods: frozenset[str]) -> Sequence[str]:
        """What may be asked with these methods, one line per method and path, as a model may read it."""
        lines: dict[str, None] = {}
        for (host, port), entry in self._entries.items():
            site = host if port in {80, 443} else entry.origin.authority
            for method in entry.listed.methods:
                if method in methods:
                    lines |= dict.fromkeys(f"{method} {site}{path}{'*' if path.endswith('/') else ''}" for path in entry.listed.paths)
        return list(lines)

    def admit(self, method: str, url: str) -> Secret | None:
        """The secret that goes with a request, if it needs one. Raises ``EgressDenied`` for a request that is not listed."""
        origin = origin_of(url)
        entry = self._entries.get((origin.host, origin.port))
        path = urlsplit(url).path or "/"
        if entry is None or method not in _with_head(entry.listed.methods) or not _is_below(path, entry.listed.paths):
            known = "; ".join(self.listed(frozenset({method}))) or "nothing"
            raise EgressDenied(f"{method} of this address is not listed by the operator; with {method} you may ask: {known}", rule="not_listed")
        return entry.secret

    @property
    def _ports(self) -> frozenset[int]:
        return frozenset(entry.origin.port for entry in self._entries.values()) - {80}


def may_carry(target: Target) -> bool:
    """Whether a secret may go there: over TLS, or in the clear to a host that the operator named as private."""
    return target.scheme == "https" or target.permit != "public"


def _with_head(methods: Sequence[str]) -> frozenset[str]:
    return frozenset([*methods, "HEAD"] if "GET" in methods else methods)


def _is_below(path: str, prefixes: Sequence[str]) -> bool:
    if _HIDDEN_SEPARATOR.search(path) or any(unquote(segment).partition(";")[0] in {".", ".."} for segment in path.split("/")):
        return False
    return any(path.startswith(prefix) if prefix.endswith("/") else path == prefix for prefix in prefixes)


def _parsed(path: Path) -> _File:
    try:
        mode, text = path.stat().st_mode, path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: cannot be read ({type(error).__name__}); write UTF-8 JSON such as {{'hosts': {{…}}}} there") from None
    if mode & 0o022:
        raise SettingsInvalid(f"{path}: others may write it, and so decide where secrets are sent; run: chmod go-w {path}")
    try:
        return _File.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise SettingsInvalid(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}; it must be JSON") from None
    except ValidationError as error:
        raise SettingsInvalid(f"{path}: {_told(cast('Mapping[str, Any]', error.errors(include_input=False)[0]))}") from None


def _told(fault: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"]) or "the file"
    remedy = "; a secret is never written here, name it with 'secret_env' or 'secret_file'" if fault["type"] == "extra_forbidden" else ""
    return f"{where}: {fault['msg']}{remedy}"


def _entries(path: Path, host: str, listed: ListedHost, environ: Mapping[str, str]) -> Sequence[_Entry]:
    where = f"{path}: hosts.{host}"
    try:
        origin = origin_of(f"https://{host}")
    except EgressDenied as error:
        raise SettingsInvalid(f"{where}: {error.message}; write a host name, with its port if that is neither 80 nor 443") from None
    if any(sign in host for sign in "/?#"):
        raise SettingsInvalid(f"{where}: write a host name only; paths belong into 'paths'")
    secret = _secret(where, listed, path.parent, environ)
    has_port = origin.port != 443 or host.endswith(":443")
    return [_Entry(Origin("https", origin.host, port), listed, secret) for port in ((origin.port,) if has_port else (443, 80))]


def _secret(where: str, listed: ListedHost, folder: Path, environ: Mapping[str, str]) -> Secret | None:
    if listed.header is None:
        return None
    token = _from_file(where, folder / listed.secret_file) if listed.secret_file is not None else environ.get(listed.secret_env or "", "")
    source = f"secret_file {listed.secret_file!r}" if listed.secret_file is not None else f"secret_env {listed.secret_env!r}"
    if len(token) < MIN_SECRET_CHARS or not _PRINTABLE.fullmatch(listed.prefix + token):
        raise SettingsInvalid(f"{where}: {source} must name a secret of at least {MIN_SECRET_CHARS} printable ASCII characters; set it")
    return Secret(listed.header.lower(), listed.prefix + token, token)


def _from_file(where: str, path: Path) -> str:
    try:
        mode, text = path.stat().st_mode, path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{where}: secret_file {str(path)!r} cannot be read ({type(error).__name__})") from None
    if mode & 0o027:
        raise SettingsInvalid(f"{where}: secret_file {str(path)!r} is open to others; run: chmod 600 {path}")
    return text.strip()


__all__ = ["ListedHost", "Secret", "SecretBook", "may_carry"]
