"""A worker process group as one call: Celery's prefork pool around a graph."""

import logging
from typing import Any, cast

from slow_worker.app import create_celery
from slow_worker.graph import GraphBuilder, build_graph
from tandem.settings import Settings
from tandem.telemetry import configure_logging, get_logger


def run_worker(settings: Settings, build: GraphBuilder = build_graph) -> int:
    """Run jobs until SIGTERM; returns Celery's exit code. The pool processes run the graph that ``build`` makes."""
    configure_logging(settings.log, process="worker")
    if settings.log.level == "info":
        # Celery tells of every task it gets and ends; our own lines say what became of the job.
        logging.getLogger("celery").setLevel(logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    worker = cast("Any", create_celery(settings, build)).Worker(
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
