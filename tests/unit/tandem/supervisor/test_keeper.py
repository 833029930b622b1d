"""One process's life: readiness, restarts, giving up, stopping; on a clock that does not wait."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tandem.errors import ProcessFailed
from tandem.supervisor.backoff import RestartPolicy
from tandem.supervisor.keeper import Change, Keeper, Patience, ProcessState
from tandem.testing.clock import FakeClock


@dataclass
class StandIn:
    """A process that lives until it is told to end."""

    exit_code: int | None = None
    started_at: float = 0.0
    pid: int = 77
    stopped_with: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        self._ended = asyncio.Event()
        if self.exit_code is not None:
            self._ended.set()

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    async def wait(self) -> int:
        await self._ended.wait()
        return self.exit_code or 0

    async def stop(self, grace_s: float) -> None:
        self.stopped_with.append(grace_s)
        self.die(0)

    def die(self, code: int) -> None:
        self.exit_code = code
        self._ended.set()

    def kill(self) -> None:
        self.die(-9)

    def rss_bytes(self) -> int | None:
        return 1_000

    def last_lines(self) -> str:
        return "    out of luck"


class ReadyAfter:
    """A probe that says yes at its n-th question."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    async def is_ready(self, since: float) -> bool:
        self.left -= 1
        return self.left <= 0


@dataclass
class Bench:
    """A keeper over prepared processes, and what it reported."""

    keeper: Keeper
    clock: FakeClock
    changes: list[Change]

    @property
    def states(self) -> list[ProcessState]:
        return [change.state for change in self.changes]


def bench(processes: Sequence[StandIn], *, questions: int = 1, rapid_deaths: int = 3) -> Bench:
    clock, changes, queue = FakeClock(), list[Change](), list(processes)

    async def spawn() -> StandIn:
        return queue.pop(0)

    keeper = Keeper(
        "gateway",
        spawn,
        ReadyAfter(questions),
        patience=Patience(start_timeout_s=5.0, stop_grace_s=2.0),
        policy=RestartPolicy(first_delay_s=1.0, healthy_after_s=60.0, rapid_deaths=rapid_deaths),
        clock=clock,
        report=changes.append,
    )
    return Bench(keeper, clock, changes)


async def test_it_is_ready_when_the_probe_says_so_and_tells_how_long_that_took() -> None:
    it = bench([StandIn()], questions=11)
    run = asyncio.create_task(it.keeper.run())
    await it.keeper.until_ready()
    assert it.states == [ProcessState.STARTING, ProcessState.READY]
    assert it.changes[-1].seconds == pytest.approx(1.0)
    await it.keeper.stop()
    await run


async def test_a_process_that_dies_is_started_again_after_a_pause() -> None:
    first, second = StandIn(), StandIn()
    it = bench([first, second])
    run = asyncio.create_task(it.keeper.run())
    await it.keeper.until_ready()
    first.die(3)
    while it.states.count(ProcessState.READY) < 2:
        await asyncio.sleep(0)
    assert it.states == [ProcessState.STARTING, ProcessState.READY, ProcessState.PAUSED, ProcessState.STARTING, ProcessState.READY]
    assert (it.changes[2].detail, it.changes[2].seconds) == ("ended with exit code 3", 1.0)
    await it.keeper.stop()
    await run


async def test_a_process_that_keeps_dying_is_given_up_with_its_last_words() -> None:
    it = bench([StandIn(exit_code=1) for _ in range(3)])
    await it.keeper.run()
    with pytest.raises(ProcessFailed, match=r"gateway ended with exit code 1, 3 times in a row.*\n {4}out of luck"):
        await it.keeper.until_ready()
    assert it.keeper.state is ProcessState.FAILED


async def test_a_signal_is_named_as_the_cause_of_death() -> None:
    it = bench([StandIn(exit_code=-9)], rapid_deaths=1)
    await it.keeper.run()
    assert it.keeper.failure is not None
    assert "was ended by signal 9" in it.keeper.failure.message


async def test_a_process_that_hangs_at_its_first_start_is_ended_and_given_up() -> None:
    hanging = StandIn()
    it = bench([hanging], questions=1_000_000)
    await it.keeper.run()
    assert hanging.stopped_with == [2.0]
    with pytest.raises(ProcessFailed, match="not ready within 5 s"):
        await it.keeper.until_ready()


async def test_a_start_the_system_refuses_is_a_failure_not_a_crash() -> None:
    it = bench([])

    async def refuse() -> StandIn:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    keeper = Keeper("worker", refuse, ReadyAfter(1), patience=Patience(), policy=RestartPolicy(), clock=it.clock, report=it.changes.append)
    await keeper.run()
    with pytest.raises(ProcessFailed, match=r"worker cannot be started.*temporarily unavailable"):
        await keeper.until_ready()


async def test_stopping_ends_the_process_and_starts_it_no_more() -> None:
    only = StandIn()
    it = bench([only])
    run = asyncio.create_task(it.keeper.run())
    await it.keeper.until_ready()
    await it.keeper.stop()
    await run
    assert only.stopped_with == [2.0]
    assert it.states[-1] is ProcessState.STOPPED


async def test_killing_does_not_lead_to_a_restart() -> None:
    it = bench([StandIn()])
    run = asyncio.create_task(it.keeper.run())
    await it.keeper.until_ready()
    it.keeper.kill()
    await run
    assert ProcessState.PAUSED not in it.states
