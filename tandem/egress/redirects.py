"""Where a redirect leads, and what of the request goes along. Pure; whether the new place may be reached is judged afterwards.

Across origins only headers that say nothing of the caller are kept, a request that changes something is never repeated elsewhere, and https never
becomes http.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urldefrag, urljoin

from tandem.egress.judgement import Target, origin_of
from tandem.errors import EgressDenied

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_IMPERSONAL: Final = frozenset({"accept", "accept-language", "user-agent"})
_OF_BODY: Final = frozenset({"content-type", "content-encoding", "content-language"})


@dataclass(frozen=True, slots=True)
class Hop:
    """One request of a chain."""

    method: str
    url: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes | None
    is_home: bool = True
    """Every hop so far had the origin of the first one: only then may secrets be sent."""


def next_hop(hop: Hop, target: Target, status: int, location: str | None) -> Hop | None:
    """The request a redirect asks for; None when the answer is no redirect. Raises ``EgressDenied`` for one that is never followed."""
    if status not in REDIRECTS or not location:
        return None
    try:
        url = urldefrag(urljoin(target.url, _unescaped(location))).url
    except ValueError:
        raise EgressDenied("the server redirects to an address that cannot be parsed", rule="redirect") from None
    origin = origin_of(url)
    if target.scheme == "https" and origin.scheme == "http":
        raise EgressDenied("the server redirects from https to plain http, which is not followed", rule="redirect")
    moved = _moved(hop, status)
    if origin == target.origin:
        return replace(moved, url=url)
    if moved.method not in SAFE_METHODS:
        raise EgressDenied(
            f"the server redirects this {moved.method} to another origin, where it is not repeated; call that address itself", rule="redirect"
        )
    return replace(moved, url=url, headers={name: value for name, value in moved.headers.items() if name in _IMPERSONAL}, is_home=False)


def _moved(hop: Hop, status: int) -> Hop:
    """The method after a redirect, as browsers do it: 303 asks for a GET, and so do 301 and 302 of a POST."""
    if (status == 303 and hop.method not in SAFE_METHODS) or (status in {301, 302} and hop.method == "POST"):
        return replace(hop, method="GET", body=None, headers={name: value for name, value in hop.headers.items() if name not in _OF_BODY})
    return hop


def _unescaped(location: str) -> str:
    """Many servers write UTF-8 and spaces into ``Location``, which was read as Latin-1."""
    text = location.strip().replace(" ", "%20")
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


__all__ = ["REDIRECTS", "SAFE_METHODS", "Hop", "next_hop"]
