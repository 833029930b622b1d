"""The Celery task: a thin door from a hint to the runner.

A hint may come twice, late, or for a job that has ended: the claim decides. Nothing typed is raised into Celery, whose result nobody reads; the row
has the truth.
"""

from collections.abc import Callable
from typing import Final, Protocol

from slow_worker.runner import RunEnd
from tandem.errors import OperatorError
from tandem.ids import JobId, is_id
from tandem.telemetry import get_logger

JOB_PREFIX: Final = "job"


class RunsJobs(Protocol):
    """A process that can run jobs."""

    def run(self, job_id: JobId) -> RunEnd: ...


def handle_hint(job_id: str, process: RunsJobs, hint: Callable[[JobId], None]) -> None:
    """Run the hinted job; if this worker gave it back, hint another one at once."""
    log = get_logger(__name__)
    if not is_id(job_id, JOB_PREFIX):
        log.warning("hint_ignored", reason="no job id")
        return
    try:
        end = process.run(JobId(job_id))
    except OperatorError as error:
        # The database is away: the row is untouched and the reaper hints again.
        log.warning("hint_not_served", job_id=job_id, code=error.code, reason=error.message)
        return
    if end is RunEnd.RELEASED:
        hint(JobId(job_id))
