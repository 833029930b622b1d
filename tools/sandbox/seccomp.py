"""The system calls that a program in the sandbox may not make, as a filter in the kernel's own byte code.

Covered: sockets of every kind, tracing and reading other processes, mounts, namespaces, kernel modules, BPF, io_uring, keys, performance
counters, memory that no limit counts (System V and POSIX queues, memfd), clocks, quotas, typing into the caller's terminal; calls of a foreign
architecture and of the x32 table end the process; calls newer than this list do not exist.
Not covered: a fault in a call that is left open, such as ``futex``, ``execve`` or the file calls. The list forbids what is known to be dangerous;
the namespaces, the lost identity and the limits stand beside it and do not rely on it.

Pure: makes bytes, loads nothing.
"""

import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER: Final = 0x25
_JUMP_BITS: Final = 0x45
_RETURN: Final = 0x06
"""Instructions of classic BPF (linux/bpf_common.h) that this filter needs."""
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
_SECOND_ARGUMENT: Final = 24
"""Offsets in ``struct seccomp_data``; the low half of an argument on little-endian machines."""
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_NOT_PERMITTED: Final = 0x00050000 | 1
_NO_SUCH_CALL: Final = 0x00050000 | 38
_NEW_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET."""
_TERMINAL_REQUESTS: Final = (0x5412, 0x541C)
"""TIOCSTI types into a terminal, TIOCLINUX pastes into a console."""
_NEWEST_CALL: Final = 450
"""Above it lie calls that nobody has judged for this list; C libraries do without them. Numbers from 424 on are the same everywhere."""
_X32: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one processor's kernel numbers its calls."""

    audit: int
    """AUDIT_ARCH of linux/audit.h."""
    clone: int
    clone3: int
    ioctl: int
    denied: tuple[tuple[str, int], ...]
    has_x32: bool = False


_COMMON: Final = (
    ("fsopen", 430),
    ("fsconfig", 431),
    ("fsmount", 432),
    ("fspick", 433),
    ("open_tree", 428),
    ("move_mount", 429),
    ("mount_setattr", 442),
    ("io_uring_setup", 425),
    ("io_uring_enter", 426),
    ("io_uring_register", 427),
    ("pidfd_getfd", 438),
    ("process_madvise", 440),
    ("quotactl_fd", 443),
    ("memfd_secret", 447),
    ("process_mrelease", 448),
    ("set_mempolicy_home_node", 450),
)
_X86_64: Final = (
    "socket 41, socketpair 53, connect 42, bind 49, listen 50, accept 43, accept4 288, ptrace 101, process_vm_readv 310, process_vm_writev 311, "
    "kcmp 312, mount 165, umount2 166, pivot_root 155, chroot 161, unshare 272, setns 308, bpf 321, perf_event_open 298, userfaultfd 323, "
    "keyctl 250, add_key 248, request_key 249, name_to_handle_at 303, open_by_handle_at 304, init_module 175, finit_module 313, "
    "delete_module 176, kexec_load 246, kexec_file_load 320, reboot 169, swapon 167, swapoff 168, acct 163, quotactl 179, syslog 103, "
    "settimeofday 164, clock_settime 227, clock_adjtime 305, adjtimex 159, sethostname 170, setdomainname 171, iopl 172, ioperm 173, "
    "modify_ldt 154, uselib 134, lookup_dcookie 212, fanotify_init 300, fanotify_mark 301, memfd_create 319, shmget 29, shmat 30, shmctl 31, "
    "msgget 68, msgsnd 69, msgrcv 70, msgctl 71, semget 64, semop 65, semctl 66, semtimedop 220, mq_open 240, mq_unlink 241, mq_timedsend 242, "
    "mq_timedreceive 243, mq_notify 244, mq_getsetattr 245, personality 135, vhangup 153, nfsservctl 180, move_pages 279, migrate_pages 256, "
    "mbind 237, set_mempolicy 238, ustat 136, sysfs 139, _sysctl 156"
)
_AARCH64: Final = (
    "socket 198, socketpair 199, connect 203, bind 200, listen 201, accept 202, accept4 242, ptrace 117, process_vm_readv 270, "
    "process_vm_writev 271, kcmp 272, mount 40, umount2 39, pivot_root 41, chroot 51, unshare 97, setns 268, bpf 280, perf_event_open 241, "
    "userfaultfd 282, keyctl 219, add_key 217, request_key 218, name_to_handle_at 264, open_by_handle_at 265, init_module 105, finit_module 273, "
    "delete_module 106, kexec_load 104, kexec_file_load 294, reboot 142, swapon 224, swapoff 225, acct 89, quotactl 60, syslog 116, "
    "settimeofday 170, clock_settime 112, clock_adjtime 266, adjtimex 171, sethostname 161, setdomainname 162, lookup_dcookie 18, "
    "fanotify_init 262, fanotify_mark 263, memfd_create 279, shmget 194, shmat 196, shmctl 195, msgget 186, msgsnd 189, msgrcv 188, msgctl 187, "
    "semget 190, semop 193, semctl 191, semtimedop 192, mq_open 180, mq_unlink 181, mq_timedsend 182, mq_timedreceive 183, mq_notify 184, "
    "mq_getsetattr 185, personality 92, vhangup 58, nfsservctl 42, move_pages 239, migrate_pages 238, mbind 235, set_mempolicy 237"
)


def _numbered(text: str) -> tuple[tuple[str, int], ...]:
    pairs = (item.split() for item in text.split(", "))
    return tuple((name, int(number)) for name, number in pairs) + _COMMON


ARCHITECTURES: Final = MappingProxyType({
    "x86_64": Architecture(audit=0xC000003E, clone=56, clone3=435, ioctl=16, denied=_numbered(_X86_64), has_x32=True),
    "aarch64": Architecture(audit=0xC00000B7, clone=220, clone3=435, ioctl=29, denied=_numbered(_AARCH64)),
})
"""By ``platform.machine()``. Elsewhere no filter can be made, and so no sandbox."""


def seccomp_filter(machine: str) -> bytes:
    """The filter as an array of ``struct sock_filter``. Raises ``KeyError`` for a machine that is not in ``ARCHITECTURES``."""
    architecture = ARCHITECTURES[machine]
    program = [_does(_LOAD_WORD, _ARCHITECTURE), *_unless_equal(architecture.audit, _KILL), _does(_LOAD_WORD, _NUMBER)]
    if architecture.has_x32:
        program += _if(_JUMP_BITS, _X32, _KILL)
    # clone3 hides its flags behind a pointer that a filter cannot follow; without it the C library asks for clone.
    program += _if(_JUMP_EQUAL, architecture.clone3, _NO_SUCH_CALL)
    program += _if(_JUMP_GREATER, _NEWEST_CALL, _NO_SUCH_CALL)
    for _, number in architecture.denied:
        program += _if(_JUMP_EQUAL, number, _NOT_PERMITTED)
    program += _with_argument(architecture.clone, _FIRST_ARGUMENT, _if(_JUMP_BITS, _NEW_NAMESPACES, _NOT_PERMITTED))
    requests = [instruction for request in _TERMINAL_REQUESTS for instruction in _if(_JUMP_EQUAL, request, _NOT_PERMITTED)]
    program += _with_argument(architecture.ioctl, _SECOND_ARGUMENT, requests)
    program.append(_does(_RETURN, _ALLOW))
    return b"".join(program)


def _does(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _if(test: int, operand: int, verdict: int) -> list[bytes]:
    return [_does(test, operand, 0, 1), _does(_RETURN, verdict)]


def _unless_equal(operand: int, verdict: int) -> list[bytes]:
    return [_does(_JUMP_EQUAL, operand, 1, 0), _does(_RETURN, verdict)]


def _with_argument(number: int, argument: int, tests: list[bytes]) -> list[bytes]:
    """The tests for one call; they leave the argument in the accumulator, so the call's verdict falls here."""
    return [_does(_JUMP_EQUAL, number, 0, len(tests) + 2), _does(_LOAD_WORD, argument), *tests, _does(_RETURN, _ALLOW)]
