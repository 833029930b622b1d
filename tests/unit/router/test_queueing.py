import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.queueing import SATURATED, has_enough, mean_wait_s
from tandem.ports import JobTimes


def test_one_worker_waits_as_the_textbook_says() -> None:
    assert mean_wait_s(0.5, 1.0, 1) == pytest.approx(1.0)  # M/M/1: load / (1 - load) * run time
    assert mean_wait_s(0.8, 1.0, 1) == pytest.approx(4.0)


def test_two_workers_wait_as_the_textbook_says() -> None:
    assert mean_wait_s(1.0, 1.0, 2) == pytest.approx(1 / 3)  # M/M/2: load**2 / (1 - load**2) * run time


def test_no_jobs_wait_for_nobody() -> None:
    assert mean_wait_s(0.0, 60.0, 4) == 0.0


@given(first=st.floats(0, 10), second=st.floats(0, 10), workers=st.integers(0, 300))
def test_more_arrivals_never_wait_less(first: float, second: float, workers: int) -> None:
    low, high = sorted((first, second))
    assert mean_wait_s(low, 60.0, workers) <= mean_wait_s(high, 60.0, workers) * (1 + 1e-9)


def test_the_wait_does_not_jump_where_it_saturates() -> None:
    below, above = (mean_wait_s((SATURATED + step) / 10, 10.0, 1) for step in (-1e-6, 1e-6))
    assert below == pytest.approx(above, rel=1e-3)


def test_beyond_saturation_the_wait_is_what_an_hour_builds_up() -> None:
    assert mean_wait_s(0.2, 10.0, 1) - mean_wait_s(0.15, 10.0, 1) == pytest.approx(0.5 * 3_600 / 2)


def test_a_simulated_queue_waits_as_projected() -> None:
    rng = random.Random(3)  # noqa: S311 - a simulation, not a secret
    free_at, now, waited = [0.0, 0.0, 0.0], 0.0, 0.0
    jobs = 60_000
    for _ in range(jobs):
        now += rng.expovariate(0.7 * 3 / 10)
        begins = max(now, heapq.heappop(free_at))
        waited += begins - now
        heapq.heappush(free_at, begins + rng.expovariate(1 / 10))
    assert waited / jobs == pytest.approx(mean_wait_s(0.7 * 3 / 10, 10.0, 3), rel=0.1)


@pytest.mark.parametrize(
    ("times", "is_enough"),
    [
        (None, False),
        (JobTimes(jobs=19, mean_run_s=1, hours=1, workers=1), False),
        (JobTimes(jobs=20, mean_run_s=1, hours=1, workers=1), True),
        (JobTimes(jobs=20, mean_run_s=0, hours=1, workers=1), False),
        (JobTimes(jobs=20, mean_run_s=1, hours=0, workers=1), False),
    ],
)
def test_projections_need_enough_jobs(times: JobTimes | None, is_enough: bool) -> None:
    assert has_enough(times) == is_enough
