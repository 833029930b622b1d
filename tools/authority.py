"""What a job may do after what it has read: rules in code, never in a prompt. Pure: it decides, and calls nothing.

A job begins with its grant (the names frozen when it was submitted). Once words of strangers have entered it (``taints``), a call that writes, reads
private data, or reaches an address that nobody had named needs a person's approval; where nobody is to be asked, it is refused.

Covered: an instruction in a page, file, search result, tool description or memory that asks for a write, for private data, for another host, or for
an address made up on the spot, on the same host too (a secret cannot be put into a query or a path, since only addresses that stood somewhere letter
by letter are known); addresses hidden in other arguments; a sub-task begun to get rid of the taint (it inherits it).
Not covered: which of several known addresses is fetched tells their host a few bits; a redirect leads where the known address leads; what an earlier
job's answer carries into this conversation comes from the caller; a model may be talked into a wrong answer, or into asking a person for something
foolish: people see that the job has read strangers' words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

from pydantic import Field, JsonValue

from tandem.schemas.base import Wire
from tandem.schemas.tools import ToolResult, ToolSpec
from tools.addresses import addresses_of, canonical, fingerprint, host_of, hosts_in, readings_in
from tools.base import INVALID_ARGUMENTS

MOST_URLS: Final = 600
"""Known addresses that a job keeps; the oldest of those that pages named go first."""
MOST_HOSTS: Final = 200
OWN_STORE_WRITES: Final = frozenset({"memory_save"})
"""Writes that stay within the tenant's own store in Tandem, where it sees and deletes them (``/v1/memory``): they need approval only after taint."""
_SAYS_NOTHING: Final = frozenset({INVALID_ARGUMENTS, "egress_denied", "timeout"})
"""Faults in our own words: a call that failed so has read nothing."""


class Authority(Wire):
    """What a job has seen, as far as it bears on what it may do; lives with the job's checkpoint."""

    tainted_by: str = ""
    """Where strangers' words came in first; empty while there are none."""
    has_private: bool = False
    """It has read what the tenant keeps to itself."""
    hosts: list[str] = Field(default_factory=list[str])
    """Hosts that the caller named or that the job has reached."""
    urls: list[str] = Field(default_factory=list[str])
    """Fingerprints of addresses it may fetch after the taint: they stood in the caller's words, in search results or in links of a known host."""
    caller_urls: int = 0
    """How many of ``urls``, from the first, are the caller's: these are never dropped."""

    @property
    def is_tainted(self) -> bool:
        return bool(self.tainted_by)

    def knows(self, url: str) -> bool:
        """Whether an address stood, letter by letter, where the job may take it from."""
        return fingerprint(url) in self.urls

    def knows_host(self, url: str) -> bool:
        """Whether an address lies on a host that the caller named or that the job has reached."""
        return host_of(url) in self.hosts


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator and the request settled."""

    approval: Literal["writes", "tainted"] = "writes"
    """Which calls that write need approval: every one, or only those after taint."""
    approvals: Literal["ask", "refuse"] = "ask"
    """What to do where one is needed."""
    known_hosts: Sequence[str] = ()
    """The operator's: fetched from also after taint, while no private data was read. ``*.example.com`` stands for all names below."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done with a call."""

    verdict: Literal["allow", "ask", "refuse"]
    rule: str
    message: str = ""
    """Of a refusal: what the model shall do instead. Of a question: why a person is asked."""


@dataclass(frozen=True, slots=True)
class _Objection:
    rule: str
    why: str
    instead: str


def judge(spec: ToolSpec, arguments: Mapping[str, JsonValue], authority: Authority, rules: Rules) -> Judgement:
    """Whether a granted tool may be called with these arguments now."""
    objection = _objection(spec, arguments, authority, rules)
    if objection is None:
        return Judgement("allow", "granted")
    if rules.approvals == "ask":
        return Judgement("ask", objection.rule, objection.why)
    message = f"{spec.name} was not called: {objection.why}, and this job asks nobody for approval; {objection.instead}"
    return Judgement("refuse", objection.rule, message)


def after(spec: ToolSpec, arguments: Mapping[str, JsonValue], result: ToolResult, authority: Authority) -> Authority:
    """The authority once a call has answered."""
    if not _has_read(result):
        return authority
    reached = _Reached(authority)
    changes: dict[str, object] = {}
    if (spec.taints or result.is_tainted) and not authority.is_tainted:
        changes["tainted_by"] = _source(spec, arguments)
    if spec.reads_private:
        changes["has_private"] = True
    if result.ok:
        reached.note(spec, arguments, result)
    return authority.model_copy(update={**changes, "hosts": reached.hosts, "urls": reached.urls})


def trusting(authority: Authority, texts: Iterable[str]) -> Authority:
    """The authority once the caller has said these words: the addresses in them are known. So before and after taint."""
    known, hosts = list(authority.urls[: authority.caller_urls]), list(authority.hosts)
    for text in texts:
        known += [mark for url in readings_in(text) if (mark := fingerprint(url)) is not None]
        for host in hosts_in(text):
            hosts.append(host)
            # A host named alone is its front page, in either scheme.
            known += [mark for scheme in ("http", "https") if (mark := fingerprint(f"{scheme}://{host}/")) is not None]
    known = list(dict.fromkeys(known))[:MOST_URLS]
    others = [mark for mark in authority.urls[authority.caller_urls :] if mark not in known]
    return authority.model_copy(update={"urls": _bounded(known, others), "caller_urls": len(known), "hosts": _unique(hosts)})


def tainted(authority: Authority, source: str) -> Authority:
    """The authority once words of strangers have come in another way than by a tool; the first source stays."""
    return authority if authority.is_tainted else authority.model_copy(update={"tainted_by": source[:200]})


def _objection(spec: ToolSpec, arguments: Mapping[str, JsonValue], authority: Authority, rules: Rules) -> _Objection | None:
    """The first rule that stands against a call."""
    if spec.side_effect == "write" and _write_needs_approval(spec, authority, rules):
        since = f", and the job has read words of strangers ({authority.tainted_by})" if authority.is_tainted else ""
        return _Objection("write", f"it changes something outside of this job{since}", "say in the answer what would have been done")
    if not authority.is_tainted:
        return None
    if spec.reads_private:
        why = f"it reads private data, and the job has read words of strangers before ({authority.tainted_by})"
        return _Objection("private_read", why, "answer without it")
    return _address_objection(spec, arguments, authority, rules)


def _write_needs_approval(spec: ToolSpec, authority: Authority, rules: Rules) -> bool:
    return authority.is_tainted or (rules.approval == "writes" and spec.name not in OWN_STORE_WRITES)


def _address_objection(spec: ToolSpec, arguments: Mapping[str, JsonValue], authority: Authority, rules: Rules) -> _Objection | None:
    if spec.side_effect not in {"read_external", "write"} and not spec.url_arguments:
        return None
    addresses = addresses_of(arguments, spec.url_arguments)
    if authority.has_private and not addresses:
        why = f"its arguments leave this machine, and the job has read private data and words of strangers ({authority.tainted_by})"
        return _Objection("private_outflow", why, "answer from what was read so far")
    for url in addresses:
        if authority.knows(url) or (not authority.has_private and is_known_host(url, rules.known_hosts)):
            continue
        why = f"nobody named the address {url[:300]!r} before words of strangers came into the job ({authority.tainted_by})"
        return _Objection("new_address", why, "fetch only addresses that the task, a search result or a link of a page names, letter by letter")
    return None


def is_known_host(url: str, patterns: Sequence[str]) -> bool:
    """Whether an address lies on one of the operator's hosts."""
    host = host_of(url)
    return host is not None and any(fnmatchcase(host, pattern.lower().removeprefix("www.")) for pattern in patterns)


def _has_read(result: ToolResult) -> bool:
    return result.ok or result.error is None or result.error.code not in _SAYS_NOTHING


def _source(spec: ToolSpec, arguments: Mapping[str, JsonValue]) -> str:
    where = next(iter(addresses_of(arguments, spec.url_arguments)), "")
    return f"{spec.name} {where}".strip()[:200]


class _Reached:
    """Collects what a call made known."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.hosts = list(authority.hosts)
        self.urls = list(authority.urls)

    def note(self, spec: ToolSpec, arguments: Mapping[str, JsonValue], result: ToolResult) -> None:
        if asked := addresses_of(arguments, spec.url_arguments):
            self.hosts = _unique([*self.hosts, *(host for url in asked if (host := host_of(url)) is not None)])
            # A page makes known what it links to on known hosts: a link to anywhere else would let it choose whom the job talks to.
            links = [url for url in result.links if host_of(url) in self.hosts]
        else:
            links = list(result.links) if spec.side_effect == "read_external" else []
        self._add([*asked, *links])

    def _add(self, urls: Sequence[str]) -> None:
        caller = self._authority.caller_urls
        marks = [mark for url in urls if canonical(url) is not None and (mark := fingerprint(url)) is not None]
        self.urls = _bounded(self.urls[:caller], [*self.urls[caller:], *marks])


def _bounded(first: list[str], others: Sequence[str]) -> list[str]:
    """The caller's, then the newest of the others."""
    known = set(first)
    fresh = [mark for mark in dict.fromkeys(reversed(others)) if mark not in known][: max(0, MOST_URLS - len(first))]
    return [*first, *reversed(fresh)]


def _unique(hosts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(hosts))[:MOST_HOSTS]


__all__ = [
    "MOST_HOSTS",
    "MOST_URLS",
    "OWN_STORE_WRITES",
    "Authority",
    "Judgement",
    "Rules",
    "after",
    "is_known_host",
    "judge",
    "tainted",
    "trusting",
]
