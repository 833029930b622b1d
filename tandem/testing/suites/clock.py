"""The conformance suite of ``Clock``: subclass it where the fixture ``clock`` is. No test waits longer than a few milliseconds."""
# ruff: noqa: S101 - a conformance suite asserts

from datetime import UTC, timedelta

from tandem.ports import Clock


class ClockConformance:
    """Everything a ``Clock`` promises."""

    def test_the_wall_clock_is_aware_and_utc(self, clock: Clock) -> None:
        assert clock.now().tzinfo is UTC

    async def test_sleeping_moves_both_clocks_by_at_least_that_much(self, clock: Clock) -> None:
        wall, steady = clock.now(), clock.monotonic()
        await clock.sleep(0.005)
        assert clock.monotonic() - steady >= 0.005
        assert clock.now() - wall >= timedelta(milliseconds=4)  # the wall clock may tick more coarsely

    async def test_the_monotonic_clock_never_goes_back(self, clock: Clock) -> None:
        seen: list[float] = []
        for _ in range(5):
            seen.append(clock.monotonic())
            await clock.sleep(0)
        assert seen == sorted(seen)
