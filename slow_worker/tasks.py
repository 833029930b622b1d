"""The Celery task: a thin door from a hint to the runner.

A hint says that there is work, not which: the claim chooses. It may come twice, late, or when nothing is left to do. Nothing typed is raised into
Celery, whose result nobody reads; the row has the truth.
"""

from collections.abc import Callable
from typing import Protocol

from slow_worker.runner import RunEnd
from tandem.errors import OperatorError
from tandem.telemetry import get_logger


class RunsJobs(Protocol):
    """A process that can run jobs."""

    def run(self) -> RunEnd: ...


def handle_hint(process: RunsJobs, hint: Callable[[], None]) -> None:
    """Run the next job; where this worker gave one back, hint another at once.

    Raises:
        SystemExit: This process has no memory left: the pool replaces it.
    """
    try:
        end = process.run()
    except OperatorError as error:
        # The database is away: the rows are untouched and the reaper hints again.
        get_logger(__name__).warning("hint_not_served", code=error.code, reason=error.message)
        return
    if end in {RunEnd.RELEASED, RunEnd.PARKED}:
        # A parked job whose answer came in meanwhile is in the queue already; a hint too many costs one look.
        hint()
    if end is RunEnd.EXHAUSTED:
        raise SystemExit(1)
