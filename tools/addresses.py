"""Addresses as the authority compares them: one spelling for all that mean the same, and where they stand in a text. Pure; reaches nothing.

``canonical`` is strict: what a client and this module could read differently has no canonical form, and so is never known.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import idna
from pydantic import JsonValue

LONGEST_URL: Final = 2_048
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")
_IN_TEXT: Final = re.compile(r"https?://[^\s<>\"'`，。；、！？）（】【》《”“’‘\u3000]+", re.IGNORECASE)
_TRAILING: Final = ".,;:!?)]}*_"
_HOST_IN_TEXT: Final = re.compile(
    r"(?<![a-z0-9_@./-])((?:[a-z0-9-]{1,63}\.)+[a-z]{2,24})(?::(\d{1,5}))?(?![a-z0-9_@-]|\.[a-z0-9])", re.IGNORECASE | re.ASCII
)
_ASCII: Final = re.compile(r"[\x21-\x7e]+")
_ESCAPE: Final = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)


def canonical(url: str) -> str | None:
    """The one spelling of an http(s) address, without its fragment; None for anything else, credentials and odd characters included."""
    text = url.strip()
    if not text or len(text) > LONGEST_URL or _UNSAFE.search(text):
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), _host(parts.hostname or "")
    if scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        return None
    authority = host if port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    path = _ESCAPE.sub(lambda found: found[0].upper(), parts.path or "/")
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{authority}{path}{query}"


def fingerprint(url: str) -> str | None:
    """A short name for a canonical address: a checkpoint keeps hundreds of them."""
    spelled = canonical(url)
    return None if spelled is None else hashlib.sha256(spelled.encode("utf-8", "replace")).hexdigest()[:24]


def host_of(url: str) -> str | None:
    """Host of an address, with its port where that is not the scheme's own and without a leading ``www.``; http and https are one."""
    spelled = canonical(url)
    return None if spelled is None else spelled.split("/", 3)[2].removeprefix("www.")


def addresses_in(text: str) -> Iterator[str]:
    """Every http(s) address of a text, without the punctuation behind it."""
    for found in _IN_TEXT.finditer(text):
        yield _trimmed(found[0])


def readings_in(text: str) -> Iterator[str]:
    """Every address that a person may have meant: in Chinese text words follow without a space, so the part before them counts too."""
    for url in addresses_in(text):
        yield url
        if (cut := _ASCII.match(url)) is not None and cut[0] != url:
            yield _trimmed(cut[0])


def hosts_in(text: str) -> Iterator[str]:
    """Every host that a text names, within an address or alone."""
    for url in readings_in(text):
        if (host := host_of(url)) is not None:
            yield host
    for found in _HOST_IN_TEXT.finditer(_IN_TEXT.sub(" ", text)):
        if name := _host(found[1]):
            yield (f"{name}:{found[2]}" if found[2] else name).removeprefix("www.")


def addresses_of(arguments: Mapping[str, JsonValue], named: Sequence[str]) -> list[str]:
    """What a call would reach: the arguments declared as addresses, and every address that stands in any other one."""
    found: list[str] = []
    for name, value in arguments.items():
        texts = list(_texts(value))
        found += texts if name in named else [url for text in texts for url in addresses_in(text)]
    return found


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _host(name: str) -> str:
    """ASCII spelling of a host; empty for one that cannot be spelled."""
    bare = name.rstrip(".").lower()
    if bare.isascii():
        return bare
    try:
        return idna.encode(bare, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return ""


def _trimmed(url: str) -> str:
    """Without closing punctuation; a bracket that the address itself opened stays."""
    while url and url[-1] in _TRAILING:
        if url[-1] == ")" and url.count("(") >= url.count(")"):
            break
        url = url[:-1]
    return url
