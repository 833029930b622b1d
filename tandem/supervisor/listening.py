"""Checks, before anything starts, that the addresses to listen on are free, and names the setting to change when one is not."""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from tandem.errors import ProcessFailed


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a process listens, and which variable says so."""

    host: str
    port: int
    variable: str
    """Environment variable of the port."""


def check_ports(listens: Iterable[tuple[str, Listen]]) -> None:
    """Check each process's address.

    Args:
        listens: Name of the process and its address.

    Raises:
        ProcessFailed: An address is taken, used twice or not ours; all faults in one message.
    """
    faults: list[str] = []
    seen: dict[int, str] = {}
    for name, listen in listens:
        if other := seen.get(listen.port):
            faults.append(f"{name} and {other} are both set to port {listen.port}; set {listen.variable} to another")
        elif fault := port_fault(listen):
            faults.append(f"{name} cannot listen on {listen.host}:{listen.port}, {fault}")
        seen[listen.port] = name
    if faults:
        raise ProcessFailed("; ".join(faults))


def port_fault(listen: Listen) -> str | None:
    """Why the address cannot be listened on, with the remedy; None when it can."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not count
            probe.bind((listen.host, listen.port))
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"something else does already: stop it, or set {listen.variable} to another port"
        return f"{error.strerror}: set {listen.variable}, or the host beside it, to an address of this machine"
    return None
