"""Ports that belong to one test process, also while nothing listens on them."""

import subprocess
import sys

from tandem.testing.ports import free_ports

OTHER = "import sys; from tandem.testing import ports; ports._FIRST = int(sys.argv[1]); ports._LAST = ports._FIRST + 2; ports._TRIES = 2; "


def test_they_are_different_and_below_what_the_system_chooses_from() -> None:
    ports = free_ports(20)
    assert len({*ports, *free_ports(20)}) == 40
    assert all(20_000 <= port < 32_000 for port in ports)


def test_another_process_does_not_get_them() -> None:
    (port,) = free_ports(1)
    asked = subprocess.run([sys.executable, "-c", f"{OTHER}print(ports.free_ports(2))", str(port)], capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert f"no 2 free ports among 2 between {port}" in asked.stderr
