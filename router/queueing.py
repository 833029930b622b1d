"""How long jobs would wait for a worker at another rate of arrival. Pure arithmetic.

The queue is taken for M/M/c: jobs that come by chance, run times that scatter like their mean, one queue, ``c`` workers. Bursts make it worse than
this. Near and beyond saturation there is no steady state; there the wait is what an hour of it would build up.
"""

from typing import Final

from tandem.ports import JobTimes

LEAST_JOBS: Final = 20
"""Fewer finished jobs say nothing of the mean run time."""
SATURATED: Final = 0.95
"""Load of the workers from which the formula's steady state is not reached within ``BUILD_UP_S``."""
BUILD_UP_S: Final = 3_600.0


def mean_wait_s(arrivals_per_s: float, mean_run_s: float, workers: int) -> float:
    """Mean wait of a job for a worker; rises with the arrivals without a jump."""
    servers = max(workers, 1)
    load = arrivals_per_s * mean_run_s / servers
    steady = min(load, SATURATED)
    if steady <= 0.0:
        return 0.0
    wait = _erlang_c(servers, steady * servers) * mean_run_s / (servers * (1 - steady))
    # A queue that grows by (load - 1) hours of work per hour makes its jobs wait half of that in the mean.
    return wait + max(load - SATURATED, 0.0) * BUILD_UP_S / 2


def has_enough(times: JobTimes | None) -> bool:
    """Whether projections can be made from these."""
    return times is not None and times.jobs >= LEAST_JOBS and times.hours > 0 and times.mean_run_s > 0


def _erlang_c(servers: int, offered: float) -> float:
    """P(a job has to wait), by the recursion for Erlang's B, which does not overflow."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    load = offered / servers
    return blocked / (1 - load * (1 - blocked))
