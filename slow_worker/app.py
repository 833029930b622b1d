"""The composition root of the worker: Celery's settings, its one task, and the life of its pool processes.

Messages are hints (acknowledged early, never retried by Celery, no results kept); leases, epochs and the reaper recover. Why each setting has its
value is in docs/slow_worker.md.
"""

from typing import Any, cast

from celery import Celery, signals
from celery.exceptions import OperationalError

from slow_worker.alive import alive_path, alive_step
from slow_worker.drain import Drain
from slow_worker.graph import GraphBuilder, build_graph
from slow_worker.process import WorkerProcess
from slow_worker.tasks import handle_hint
from tandem.schemas.jobs import AUTOPILOT_QUEUE, RUN_JOB_TASK
from tandem.settings import Settings
from tandem.telemetry import get_logger


def create_celery(settings: Settings, build: GraphBuilder = build_graph) -> Celery:
    """The Celery application for these settings; its pool processes run the graph that ``build`` makes. Connects to nothing until a worker starts."""
    app = Celery("slow_worker", set_as_current=False)
    app.conf.update(celery_settings(settings))
    drain = Drain()
    processes: list[WorkerProcess] = []

    def run_job() -> None:
        handle_hint(processes[0], lambda: _hint(app))

    app.task(name=RUN_JOB_TASK, ignore_result=True)(run_job)

    def on_child_start(**_: Any) -> None:
        process = WorkerProcess(settings, drain, build)
        process.start()
        processes.append(process)

    def on_child_stop(**_: Any) -> None:
        while processes:
            processes.pop().stop()

    def on_shutting_down(**_: Any) -> None:
        drain.begin()

    def keep_our_logging(**_: Any) -> None:
        """A receiver is all it takes: Celery then leaves the logging that our main has configured alone."""

    # Celery holds receivers weakly; these live as long as the application.
    signals.worker_process_init.connect(on_child_start, weak=False)
    signals.worker_process_shutdown.connect(on_child_stop, weak=False)
    signals.worker_shutting_down.connect(on_shutting_down, weak=False)
    signals.setup_logging.connect(keep_our_logging, weak=False)
    cast("dict[str, set[type]]", app.steps)["consumer"].add(alive_step(alive_path(settings.home)))
    return app


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Celery's settings: hints over Redis, JSON only, no results, no hoarding, bounded waits."""
    return {
        "broker_url": settings.redis_url,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": AUTOPILOT_QUEUE,
        "task_acks_late": False,
        "task_ignore_result": True,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_max_tasks_per_child": 50,
        "worker_max_memory_per_child": 600_000,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_acquire_timeout": 5,
        "broker_transport_options": {
            "visibility_timeout": 3_600,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "health_check_interval": 10,
            "queue_order_strategy": "priority",
            "global_keyprefix": settings.redis.prefix,
        },
    }


def _hint(app: Celery) -> None:
    """Tell another worker at once; best effort, for the reaper tells them again."""
    try:
        app.send_task(RUN_JOB_TASK, queue=AUTOPILOT_QUEUE, priority=0, retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        get_logger(__name__).warning("hint_not_sent", reason=type(error).__name__)
