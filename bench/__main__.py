"""``python -m bench [NAME …] [-- ARGUMENTS]``: runs every benchmark of this folder, or the named ones, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """Every benchmark: a file beside this one; what they share is in ``rig/``."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def main(arguments: list[str]) -> int:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    asked, rest = arguments[:at] or names(), arguments[at + 1 :]
    if unknown := [name for name in asked if name not in names()]:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    # Compiled bytecode halves start-up, which is one of the measured figures.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    worst = 0
    for name in asked:
        print(f"\n=== {name} ===", flush=True)
        worst = max(worst, subprocess.run([sys.executable, "-m", f"bench.{name}", *rest], check=False, env=environment, cwd=HERE.parent).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
