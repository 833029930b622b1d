"""The filter of system calls: an interpreter of its byte code shows what it would say, also for a processor that is not at hand."""

import ctypes
import platform
import re
import struct
from pathlib import Path

import pytest

from tools.sandbox.seccomp import ARCHITECTURES, seccomp_filter

ALLOW, KILL, NOT_PERMITTED, NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x50001, 0x50026
HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the kernel would make of a call: classic BPF over ``struct seccomp_data``."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, ARCHITECTURES[machine].audit if audit is None else audit, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    at = accumulator = 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        else:
            holds = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x45: bool(accumulator & operand)}[code]
            at += if_true if holds else if_false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_every_listed_call_is_not_permitted(machine: str) -> None:
    assert {name for name, number in ARCHITECTURES[machine].denied if verdict(machine, number) != NOT_PERMITTED} == set()


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_programs_live_on_is_allowed(machine: str) -> None:
    denied = {number for _, number in ARCHITECTURES[machine].denied} | {ARCHITECTURES[machine].clone3}

    assert {number for number in range(451) if verdict(machine, number) != ALLOW} == denied


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_a_call_of_another_architecture_ends_the_process(machine: str) -> None:
    assert verdict(machine, 0, audit=0x40000003) == KILL


def test_a_call_of_the_x32_table_ends_the_process() -> None:
    assert verdict("x86_64", 0x40000000 + 39) == KILL


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("flag", [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_a_new_process_may_not_come_with_a_new_namespace(machine: str, flag: int) -> None:
    clone = ARCHITECTURES[machine].clone

    assert (verdict(machine, clone, 17), verdict(machine, clone, 17 | flag)) == (ALLOW, NOT_PERMITTED)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_clone3_and_calls_that_nobody_has_judged_do_not_exist(machine: str) -> None:
    assert [verdict(machine, number) for number in (435, 451, 462, 500)] == [NO_SUCH_CALL] * 4


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_nothing_may_be_typed_into_a_terminal(machine: str) -> None:
    ioctl = ARCHITECTURES[machine].ioctl

    assert [verdict(machine, ioctl, 1, request) for request in (0x5412, 0x541C, 0x5401)] == [NOT_PERMITTED, NOT_PERMITTED, ALLOW]


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip(f"no kernel headers here ({header})")
    known: dict[str, int] = {}
    for name, number in re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", header.read_text(encoding="utf-8"), re.MULTILINE):
        known.setdefault(name, int(number))
    architecture = ARCHITECTURES[machine]
    ours = [*architecture.denied, ("clone", architecture.clone), ("clone3", architecture.clone3), ("ioctl", architecture.ioctl)]

    assert {name: number for name, number in ours if known[name] != number} == {}


def test_a_machine_without_a_table_gets_no_filter() -> None:
    with pytest.raises(KeyError):
        seccomp_filter("riscv64")


def test_this_interpreter_reads_the_byte_order_the_kernel_does() -> None:
    assert len(seccomp_filter(platform.machine() if platform.machine() in ARCHITECTURES else "x86_64")) % ctypes.sizeof(ctypes.c_uint64) == 0
