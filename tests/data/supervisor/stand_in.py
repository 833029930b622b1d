"""A server with a child of its own. ``NAME PORT FOLDER KIND``: KIND ``stubborn`` ignores SIGTERM, as does its child.

It writes its name, pid and child's pid into FOLDER/pids, and exits with 7 at once while FOLDER/NAME.die exists.
"""

import http.server
import os
import signal
import subprocess
import sys
from pathlib import Path

POLITE = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def main(name: str, port: int, folder: Path, kind: str) -> int:
    sys.stdout.write(f"hello from {name}\n")
    sys.stdout.flush()
    if (folder / f"{name}.die").exists():
        return 7
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-S", "-c", STUBBORN if kind == "stubborn" else POLITE])
    with (folder / "pids").open("a", encoding="utf-8") as pids:
        pids.write(f"{name} {os.getpid()} {child.pid}\n")
    http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
