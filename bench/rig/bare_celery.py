"""A Celery worker as its own documentation sets it up, for comparison: one task that does nothing, results in Redis.

``python -m bench.rig.bare_celery REDIS_URL`` starts the worker; ``open_app`` is what a caller uses.
"""

import sys
from typing import Any, cast

from celery import Celery

TASK = "bench.noop"


def open_app(redis_url: str) -> Celery:
    """The application on both sides."""
    app = Celery("bench", broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.update(task_default_queue="bench", broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)

    def noop() -> str:
        return "done"

    app.task(name=TASK)(noop)
    return app


def main(redis_url: str) -> None:
    worker = cast("Any", open_app(redis_url)).Worker(pool_cls="prefork", concurrency=1, loglevel="WARNING", without_gossip=True, without_mingle=True)
    worker.start()


if __name__ == "__main__":
    main(sys.argv[1])
