"""``python -m slow_worker``: the worker process group of System 2. SIGTERM gives running jobs back to the queue and ends it."""

import sys

from slow_worker.worker import run_worker
from tandem.errors import TandemError
from tandem.settings import Settings


def main() -> int:
    """Run until stopped; the exit code is Celery's, 2 for settings that are wrong."""
    try:
        settings = Settings.load()
    except TandemError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    return run_worker(settings)


if __name__ == "__main__":
    sys.exit(main())
