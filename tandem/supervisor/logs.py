"""The log file of one process: bounded in size, and its last lines for error messages."""

import shutil
from pathlib import Path
from typing import Final

LARGEST_BYTES: Final = 10_000_000
"""A larger log is moved to ``<name>.log.1``; one older file is kept, so a process never holds more than twice this."""
TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 8_192


def rotate(path: Path, largest_bytes: int = LARGEST_BYTES) -> bool:
    """Copy a log that is too large aside and empty it in place: its writer appends, so it goes on in the emptied file. True when it did."""
    if not path.exists() or path.stat().st_size <= largest_bytes:
        return False
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+b") as log:
        log.truncate(0)
    return True


def tail(path: Path, start: int = 0, lines: int = TAIL_LINES) -> str:
    """The last lines written at or after the byte ``start``, indented; empty when there are none."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _TAIL_BYTES, start if start <= size else 0))
            text = log.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-lines:])
