"""When a process that died is started again: pure arithmetic, knows no process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient the supervisor is with one process."""

    first_delay_s: float = 0.5
    """Pause before the first restart; it doubles with each death in a row."""
    longest_delay_s: float = 30.0
    healthy_after_s: float = 60.0
    """A process that was ready this long is forgiven its earlier deaths."""
    rapid_deaths: int = 6
    """After this many deaths in a row the process is given up."""


@dataclass(slots=True)
class Backoff:
    """The death count of one process."""

    policy: RestartPolicy
    deaths: int = 0
    """Deaths in a row."""

    def delay_after(self, ready_s: float) -> float | None:
        """Seconds to wait before the next start after a death; None gives the process up.

        Args:
            ready_s: How long it had been ready when it died; 0 when it never was.
        """
        if ready_s >= self.policy.healthy_after_s:
            self.deaths = 0
        self.deaths += 1
        if self.deaths >= self.policy.rapid_deaths:
            return None
        return min(self.policy.longest_delay_s, self.policy.first_delay_s * 2.0 ** (self.deaths - 1))
