"""Addresses as the web's tools name them: one spelling per page, without trackers, fragments and redirects through a search engine.

Knows no network: what may be reached is judged by ``tandem.egress`` alone.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, urljoin, urlsplit

import idna

from tandem.egress.judgement import MAX_URL_CHARS

_SAFE: Final = "%/:?[]@!$&'()*+,;=~"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_TRACKERS: Final = re.compile(r"utm_\w+|gclid|fbclid|msclkid|dclid|yclid|mc_[ce]id|igshid|_hsenc|_hsmi|spm_id_from", re.IGNORECASE)
_SPACES: Final = re.compile(r"[\x00-\x20\x7f]")


def plain_url(url: str, base: str | None = None) -> str | None:
    """The address in ASCII, without fragment, trackers and default port; None for what is no http(s) page or holds credentials.

    Args:
        url: Absolute, or relative to ``base``.
        base: The page that names it.
    """
    try:
        parts = urlsplit(urljoin(base, url.strip()) if base else url.strip())
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or _SPACES.search(parts.netloc):
        return None
    if (host := _ascii(parts.hostname)) is None:
        return None
    authority = host if port in {None, _DEFAULT_PORTS[scheme]} else f"{host}:{port}"
    query = _query(parts)
    plain = f"{scheme}://{authority}{quote(parts.path or '/', safe=_SAFE)}{f'?{query}' if query else ''}"
    return plain if len(plain) <= MAX_URL_CHARS else None


def distinct(urls: Iterable[str]) -> list[str]:
    """Each once, in order; ``http`` and ``https``, ``www.`` and a final slash make no difference, and the first spelling stays."""
    seen: dict[str, str] = {}
    for url in urls:
        seen.setdefault(sameness(url), url)
    return list(seen.values())


def sameness(url: str) -> str:
    """What two addresses of one page share."""
    return url.split("://", 1)[-1].removeprefix("www.").rstrip("/")


def unwrapped(url: str) -> str:
    """The target of DuckDuckGo's counting redirect; any other address as it is."""
    try:
        parts = urlsplit(url if "://" in url else f"https:{url}" if url.startswith("//") else url)
    except ValueError:
        return url
    if parts.hostname is not None and is_duckduckgo(parts.hostname) and parts.path.rstrip("/") == "/l":
        return parse_qs(parts.query).get("uddg", [url])[0]
    return url


def is_duckduckgo(host: str) -> bool:
    """Whether a host is DuckDuckGo's own."""
    return host == "duckduckgo.com" or host.endswith(".duckduckgo.com")


def _ascii(host: str) -> str | None:
    if ":" in host:
        return f"[{host}]"
    try:
        return host.lower() if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None


def _query(parts: SplitResult) -> str:
    """The query as it was, but for trackers: order, empty values and odd spellings may matter to the site."""
    if not any(_TRACKERS.fullmatch(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return quote(parts.query, safe=_SAFE)
    kept = [pair for pair in parts.query.split("&") if not _TRACKERS.fullmatch(pair.partition("=")[0])]
    return quote("&".join(kept), safe=_SAFE)
