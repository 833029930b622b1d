"""Which addresses may be reached, and how hosts are spelled.

Knows no URL, no name resolution and no connection.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import idna

from tandem.errors import EgressDenied, SettingsInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# https://www.iana.org/assignments/iana-ipv4-special-registry, the globally reachable relays included, and multicast.
# Not `ipaddress.is_global`: it lets 192.0.0.192, fec0::, 6to4 and ::/96 pass in some Python versions.
_FORBIDDEN_V4: Final = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Global unicast only (https://www.iana.org/assignments/ipv6-address-space); mapped, compatible, NAT64, ULA, link- and site-local lie outside of it.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    ipaddress.IPv6Network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")  # IETF and Teredo, examples, 6to4, AS112, examples
)
# Where an operator's own servers live (RFC 1918, shared space, ULA, loopback); never link-local with its metadata services, never translated space.
_PRIVATE: Final = tuple(
    ipaddress.ip_network(block) for block in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
)
_NAME: Final = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


def is_public(address: Address) -> bool:
    """Whether the address is ordinary public unicast, by explicit tables."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in block for block in _FORBIDDEN_V4)
    return address.scope_id is None and address in _GLOBAL_V6 and not any(address in block for block in _FORBIDDEN_V6)


def is_private(address: Address) -> bool:
    """Whether the address is one that an operator's own server may have in a private network or on this machine."""
    return not (isinstance(address, ipaddress.IPv6Address) and address.scope_id) and any(address in block for block in _PRIVATE)


def ascii_host(host: str) -> str:
    """The host in lower-case ASCII without its final dot; literals of IPv6 without brackets. Raises ``EgressDenied``."""
    if ":" in host:
        return host
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise EgressDenied(f"the host {host[:64]!r} is not a valid internationalised name", rule="host") from None
    name = name.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise EgressDenied(f"the host {host[:64]!r} is not a valid name or address", rule="host")
    return name


def literal(host: str) -> Address | None:
    """The address a host spells, or None for a name. Odd spellings (decimal, octal, hex, short), which resolvers read differently, are refused."""
    if ":" not in host and not _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise EgressDenied(f"the address {host[:64]!r} is not in its canonical form; write it like '203.0.113.7'", rule="host") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise EgressDenied("addresses with a zone are never reached", rule="host")
    return address


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the operator lets through although it is private, and over plain http on any port."""

    hosts: frozenset[str]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowList":
        """Read CIDRs, addresses and host names.

        Raises:
            SettingsInvalid: An entry is none of these.
        """
        hosts: set[str] = set()
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                hosts.add(_allowed_host(entry))
        return cls(frozenset(hosts), tuple(networks))

    def covers(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _allowed_host(entry: str) -> str:
    fault = SettingsInvalid(
        f"TANDEM_EGRESS_ALLOW (egress.allow): {entry!r} is neither a CIDR without host bits (10.0.0.0/8), an address, nor a host name"
        " (without scheme, port or wildcard)"
    )
    if ":" in entry:
        raise fault
    try:
        host = ascii_host(entry)
        literal(host)
    except EgressDenied:
        raise fault from None
    return host


__all__ = ["Address", "AllowList", "ascii_host", "is_private", "is_public", "literal"]
