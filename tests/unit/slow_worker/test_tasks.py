"""From a hint to the runner, and back to another worker."""

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from slow_worker.runner import RunEnd
from slow_worker.tasks import handle_hint
from tandem.errors import StorageUnavailable


@dataclass
class Process:
    """Ends as it is told."""

    end: RunEnd | Exception

    def run(self) -> RunEnd:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


@pytest.mark.parametrize(("end", "hints"), [(RunEnd.NOTHING, 0), (RunEnd.FINISHED, 0), (RunEnd.LOST, 0), (RunEnd.RELEASED, 1), (RunEnd.PARKED, 1)])
def test_a_job_that_may_be_in_the_queue_again_is_hinted(end: RunEnd, hints: int) -> None:
    sent: list[None] = []

    handle_hint(Process(end), lambda: sent.append(None))

    assert len(sent) == hints


def test_a_database_that_is_away_is_nothing_for_celery() -> None:
    with capture_logs() as logs:
        handle_hint(Process(StorageUnavailable("no route")), lambda: None)

    assert [(line["event"], line["code"]) for line in logs] == [("hint_not_served", "storage_unavailable")]


def test_a_process_without_memory_leaves() -> None:
    with pytest.raises(SystemExit):
        handle_hint(Process(RunEnd.EXHAUSTED), lambda: None)
