"""Ports are checked before anything starts."""

import socket
from collections.abc import Iterator

import pytest

from tandem.errors import ProcessFailed
from tandem.supervisor.listening import Listen, check_ports, port_fault


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_names_process_address_and_setting(taken: int) -> None:
    with pytest.raises(ProcessFailed, match=rf"gateway cannot listen on 127\.0\.0\.1:{taken}.*TANDEM_GATEWAY_PORT"):
        check_ports([("gateway", Listen("127.0.0.1", taken, "TANDEM_GATEWAY_PORT"))])


def test_a_free_port_has_no_fault(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    assert port_fault(Listen("127.0.0.1", port, "X")) is None


def test_one_port_for_two_processes_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with pytest.raises(ProcessFailed, match="slow and fast are both set to port"):
        check_ports([("fast", Listen("127.0.0.1", port, "TANDEM_FAST_PORT")), ("slow", Listen("127.0.0.1", port, "TANDEM_SLOW_PORT"))])


def test_a_foreign_address_is_refused() -> None:
    fault = port_fault(Listen("192.0.2.1", 8700, "TANDEM_GATEWAY_PORT"))
    assert fault is not None
    assert "an address of this machine" in fault
