"""Starts, watches and stops the processes of one Tandem on this machine, and leaves none behind."""

from tandem.supervisor.backoff import RestartPolicy
from tandem.supervisor.guardian_link import GuardianLink
from tandem.supervisor.keeper import Change, ProcessState
from tandem.supervisor.listening import check_ports, port_fault
from tandem.supervisor.lock import HomeLock
from tandem.supervisor.processes import ProcessSpec, child_environment, process_table
from tandem.supervisor.supervisor import Supervisor
from tandem.supervisor.valkey import embedded_url, find_server, prepare_valkey, with_redis

__all__ = [
    "Change",
    "GuardianLink",
    "HomeLock",
    "ProcessSpec",
    "ProcessState",
    "RestartPolicy",
    "Supervisor",
    "check_ports",
    "child_environment",
    "embedded_url",
    "find_server",
    "port_fault",
    "prepare_valkey",
    "process_table",
    "with_redis",
]
