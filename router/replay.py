"""What a policy would have done with logged traffic: the evidence before a change. Pure; reads no store.

Shares are of the requests that the caller left open (``auto``): no policy changes the others.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from router.choice import CALM, Choice, Policy, Situation
from router.dials import apply_dials
from router.estimates import share_of
from router.quality import Outcomes, quality_of
from router.queueing import has_enough, mean_wait_s
from router.redecision import Traffic, is_auto, redecide
from tandem.ports import JobTimes, LoggedDecision
from tandem.schemas.policies import Estimate, Flip, Replay

MAX_EXAMPLES: Final = 20
LEAST_CHECKS: Final = 20
"""Fewer judged checks say nothing of how often one fails."""
NO_INTENT: Final = "unknown"
"""Name in ``by_intent`` of requests whose backend gave none."""
_WAIT_STEPS: Final = 8
"""Halvings of the wait, which is found to a 256th of its range."""
NO_OUTCOMES: Final[Outcomes] = {}


def replay(logged: Sequence[LoggedDecision], policy: Policy, *, job_times: JobTimes | None = None, outcomes: Outcomes = NO_OUTCOMES) -> Replay:
    """Decide logged requests (newest first) again, and say what changes and what it costs."""
    traffic = Traffic.of(logged)
    load = _Load.of(traffic, job_times, outcomes)
    situation = _at_its_own_wait(traffic, policy, load)
    choices = traffic.choices(policy, situation)
    auto = [(each, choice) for each, choice in zip(traffic.logged, choices, strict=True) if is_auto(choice)]
    share = share_of(_slow(choice for _, choice in auto), len(auto))
    flips = [(each, choice) for each, choice in auto if choice.lane != each.decision.lane]
    quality, basis = quality_of(traffic, _undrawn(traffic, choices, policy, situation), outcomes)
    return Replay(
        policy=policy.document,
        decisions=len(logged),
        slow_share_before=share_of(sum(each.decision.lane == "slow" for each, _ in auto), len(auto)),
        slow_share=share,
        check_share=share_of(sum(choice.band == "check" for _, choice in auto), len(auto)),
        by_language=_by(auto, lambda each: each.decision.language),
        by_intent=_by(auto, lambda each: each.decision.intent or NO_INTENT),
        flips=len(flips),
        examples=_nearest(flips),
        queue_wait_s=load.estimate(choices, share, lambda per_hour: mean_wait_s(per_hour / 3_600, load.mean_run_s, load.workers)),
        slow_seconds=load.estimate(choices, share, lambda per_hour: per_hour * load.mean_run_s),
        quality=quality,
        quality_basis=basis,
    )


@dataclass(frozen=True, slots=True)
class _Load:
    """What the log and the finished jobs say of the slow lane's load."""

    is_known: bool
    jobs: int
    jobs_per_hour: float
    mean_run_s: float
    workers: int
    hours: float
    """Of the logged decisions."""
    slow_before: int
    checked_before: int
    failing: float
    """Share of checks that fail and become jobs; 0 where too few were judged."""

    @classmethod
    def of(cls, traffic: Traffic, times: JobTimes | None, outcomes: Outcomes) -> "_Load":
        lanes = Counter(each.decision.band for each in traffic.logged)
        checks = Counter(outcome.kind for found in outcomes.values() for outcome in found if outcome.kind in {"check_passed", "check_failed"})
        failing = checks["check_failed"] / checks.total() if checks.total() >= LEAST_CHECKS else 0.0
        if times is None or not has_enough(times):
            return cls(False, times.jobs if times is not None else 0, 0.0, 0.0, 1, 1.0, lanes["slow"], lanes["check"], failing)
        hours = _hours(traffic) or times.hours
        return cls(True, times.jobs, times.jobs / times.hours, times.mean_run_s, times.workers, hours, lanes["slow"], lanes["check"], failing)

    def per_hour(self, slow: float, checked: float) -> float:
        """Jobs per hour if this many logged requests had gone slow and been checked; jobs from elsewhere stay."""
        more = (slow - self.slow_before) + self.failing * (checked - self.checked_before)
        return max(self.jobs_per_hour + more / self.hours, 0.0)

    def wait_s(self, choices: Sequence[Choice]) -> float:
        rate = self.per_hour(_slow(choices), sum(choice.band == "check" for choice in choices))
        return mean_wait_s(rate / 3_600, self.mean_run_s, self.workers)

    def estimate(self, choices: Sequence[Choice], share: Estimate, figure: Callable[[float], float]) -> Estimate:
        """A figure of the job rate, with the interval that the slow share's gives it; it rises with the rate."""
        if not self.is_known or share.value is None or share.low is None or share.high is None:
            return Estimate(value=None, n=self.jobs)
        slow, checked = _slow(choices), sum(choice.band == "check" for choice in choices)
        value, low, high = (figure(self.per_hour(slow + (part - share.value) * share.n, checked)) for part in (share.value, share.low, share.high))
        return Estimate(value=value, low=low, high=high, n=self.jobs)


def _at_its_own_wait(traffic: Traffic, policy: Policy, load: _Load) -> Situation:
    """The situation in which a policy that prices waiting settles: more waiting sends less slow, and less slow makes less waiting."""
    if policy.document.wait_cost_per_min == 0.0 or not load.is_known:
        return CALM
    low, high = 0.0, load.wait_s(traffic.choices(policy))
    for _ in range(_WAIT_STEPS):
        middle = (low + high) / 2
        if load.wait_s(traffic.choices(policy, Situation(queue_wait_s=middle))) > middle:
            low = middle
        else:
            high = middle
    return Situation(queue_wait_s=(low + high) / 2)


def _undrawn(traffic: Traffic, choices: Sequence[Choice], policy: Policy, situation: Situation) -> Sequence[Choice]:
    """The choices without what was drawn: whoever asks for the policy's quality does not ask for that of its experiments."""
    if all(choice.override != "explore" for choice in choices):
        return choices
    calm = Policy.of(policy.version, policy.document.model_copy(update={"explore": 0.0}))
    return traffic.choices(calm, situation)


def _hours(traffic: Traffic) -> float:
    """Between the first and the last logged request; 0 where the log does not say."""
    times = [each.created_at for each in traffic.logged if each.created_at is not None]
    return (max(times) - min(times)).total_seconds() / 3_600 if times else 0.0


def _slow(choices: Iterable[Choice]) -> int:
    return sum(choice.lane == "slow" for choice in choices)


def _by(auto: Sequence[tuple[LoggedDecision, Choice]], group: Callable[[LoggedDecision], str]) -> dict[str, Estimate]:
    """Slow share of each group, the largest first."""
    totals = Counter(group(each) for each, _ in auto)
    slow = Counter(group(each) for each, choice in auto if choice.lane == "slow")
    return {name: share_of(slow[name], total) for name, total in totals.most_common()}


def _nearest(flips: Sequence[tuple[LoggedDecision, Choice]]) -> list[Flip]:
    """The flips nearest to their new cut: the ones to look at, since there the score is least sure."""
    nearest = sorted(flips, key=lambda flip: abs(flip[0].decision.p_slow - flip[1].slow_at))[:MAX_EXAMPLES]
    return [
        Flip(
            decision_id=each.id,
            language=each.decision.language,
            intent=each.decision.intent,
            p_slow=each.decision.p_slow,
            before=each.decision.lane,
            after=choice.lane,
        )
        for each, choice in nearest
    ]


__all__ = ["apply_dials", "redecide", "replay"]
