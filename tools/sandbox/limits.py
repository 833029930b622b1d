"""What one program in the sandbox may use, and how that becomes the kernel's own limits."""

import math
from dataclasses import dataclass
from typing import Final

MEBIBYTE: Final = 1024 * 1024
_STACK_BYTES: Final = 8 * MEBIBYTE
_OPEN_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything here holds for one call."""

    seconds: float = 30.0
    """Of wall time; then the whole sandbox is killed."""
    memory_bytes: int = 1024 * MEBIBYTE
    """Of all its processes and of its scratch folder together."""
    processes: int = 32
    """Processes and threads where a control group counts them."""
    processes_alone: int = 4
    """The same where there is none: memory is then limited per process, so that there must be few."""
    scratch_bytes: int = 64 * MEBIBYTE
    printed_bytes: int = 64 * 1024
    """Of what it prints, this much is kept."""
    flood_bytes: int = 8 * MEBIBYTE
    """A program that prints more is ended."""
    files: int = 16
    """That it makes and that are kept."""
    file_bytes: int = 16 * MEBIBYTE
    """All of them together."""
    brought_bytes: int = 32 * MEBIBYTE
    """All files that it is given together."""

    def for_kernel(self, *, has_cgroup: bool, is_own_namespace: bool) -> dict[str, int]:
        """Resource limits by their names in Python's ``resource``; ``is_own_namespace``: bwrap's own process counts as the program's user."""
        # Address space is more than memory: libraries map what they never touch.
        address_space = self.memory_bytes + 512 * MEBIBYTE if has_cgroup else self.memory_bytes
        return {
            "RLIMIT_AS": address_space,
            "RLIMIT_CPU": math.ceil(self.seconds) + 1,
            "RLIMIT_FSIZE": self.scratch_bytes,
            "RLIMIT_NOFILE": _OPEN_FILES,
            "RLIMIT_NPROC": (self.processes if has_cgroup else self.processes_alone) + (2 if is_own_namespace else 0),
            "RLIMIT_CORE": 0,
            "RLIMIT_STACK": _STACK_BYTES,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_MEMLOCK": 0,
        }
