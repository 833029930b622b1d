"""Peers from the package index, each installed on demand into an environment of its own under ``.venv/cache``, never into ours."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".venv" / "cache"


class PeerMissing(Exception):
    """The peer cannot be installed or started here; the message says why."""


def install(executable: Path, packages: Sequence[str]) -> None:
    """Install ``packages`` into the environment whose ``bin/`` holds ``executable``, unless it is there. Raises ``PeerMissing``."""
    if executable.exists():
        return
    home = executable.parent.parent
    uv = ROOT / ".venv" / "bin" / "uv"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    commands = (
        [str(uv), "venv", "--quiet", "--clear", str(home), "--python", sys.executable],
        [str(uv), "pip", "install", "--quiet", "--compile-bytecode", "--python", str(home / "bin" / "python"), *packages],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise PeerMissing(f"{packages[0]} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


def outside_environment() -> dict[str, str]:
    """Our environment without what belongs to our own Python."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
