"""``python -m slow_worker``: the worker process group of System 2. SIGTERM gives running jobs back to the queue and ends it."""

import logging
import sys
from typing import Any, cast

from slow_worker.app import create_celery
from tandem.errors import TandemError
from tandem.settings import Settings
from tandem.telemetry import configure_logging, get_logger


def main() -> int:
    """Run until stopped; the exit code is Celery's, 2 for settings that are wrong."""
    try:
        settings = Settings.load()
    except TandemError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    configure_logging(settings.log, process="worker")
    if settings.log.level == "info":
        # Celery tells of every task it gets and ends; our own lines say what became of the job.
        logging.getLogger("celery").setLevel(logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    worker = cast("Any", create_celery(settings)).Worker(
        pool_cls="prefork",
        concurrency=settings.worker.concurrency,
        loglevel=settings.log.level.upper(),
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    get_logger(__name__).info("worker_starting", concurrency=settings.worker.concurrency)
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
