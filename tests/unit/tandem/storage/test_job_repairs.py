"""Which repair a job needs, by its row alone."""

from types import MappingProxyType
from typing import cast

import pytest
from sqlalchemy.engine import RowMapping

from tandem.schemas.jobs import TERMINAL_STATUSES, JobStatus
from tandem.storage.job_repairs import DEADLINE_GRACE_S, Repair, choose_repair

NOW = 1_000.0
HEALTHY: MappingProxyType[str, object] = MappingProxyType({
    "now_s": NOW,
    "finished_at": None,
    "lease_until": None,
    "lost": 0,
    "deadline_at": None,
    "hint_at": NOW + 60,
    "expires_at": None,
})
HELD = {"lease_until": NOW + 10}
GONE = {"lease_until": NOW - 1}


def repair(status: JobStatus, *given: dict[str, float]) -> Repair | None:
    row: dict[str, object] = {**HEALTHY, "status": status}
    for each in given:
        row.update(each)
    return choose_repair(cast(RowMapping, row), max_attempts=3)


@pytest.mark.parametrize("status", JobStatus)
def test_a_healthy_job_needs_nothing(status: JobStatus) -> None:
    held = HELD if status in {JobStatus.IN_PROGRESS, JobStatus.CANCELLING} else {}
    assert repair(status, held) is None


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
def test_an_ended_job_needs_nothing_whatever_its_row_says(status: JobStatus) -> None:
    assert repair(status, {"finished_at": NOW, "deadline_at": 0, "hint_at": 0, "expires_at": 0, "lost": 9}, GONE) is None


def test_a_job_whose_worker_is_gone_waits_for_another_until_it_has_lost_too_many() -> None:
    assert repair(JobStatus.IN_PROGRESS, GONE, {"lost": 1}) is None
    assert repair(JobStatus.IN_PROGRESS, GONE, {"lost": 2}) is Repair.FAIL
    assert repair(JobStatus.CANCELLING, GONE) is Repair.CANCEL


@pytest.mark.parametrize("status", [each for each in JobStatus if each not in TERMINAL_STATUSES])
def test_a_deadline_ends_what_nobody_holds_and_gives_a_living_worker_a_grace(status: JobStatus) -> None:
    passed, long_passed = {"deadline_at": NOW - 1}, {"deadline_at": NOW - DEADLINE_GRACE_S}
    if status is JobStatus.CANCELLING:
        assert repair(status, HELD, long_passed) is None
    elif status is JobStatus.IN_PROGRESS:
        assert [repair(status, HELD, each) for each in (passed, long_passed)] == [None, Repair.END_LATE]
        assert repair(status, GONE, passed) is Repair.END_LATE
    else:
        assert repair(status, passed) is Repair.END_LATE
    assert repair(status, HELD, {"deadline_at": NOW + 1}) is None


def test_a_scheduled_job_is_queued_at_its_time() -> None:
    assert repair(JobStatus.SCHEDULED, {"hint_at": NOW}) is Repair.QUEUE


def test_only_what_waits_for_people_expires() -> None:
    over = {"expires_at": NOW}
    waiting = {status for status in JobStatus if repair(status, HELD, over) is Repair.EXPIRE}
    assert waiting == {JobStatus.INPUT_REQUIRED, JobStatus.BUDGET_REACHED}
