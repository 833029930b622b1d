import json
import random
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rollout import advance, arm_of, begin, is_stage_over, judge, previous_active, roll_back, set_kill, set_shadow
from tandem.errors import Conflict
from tandem.ports import NewState
from tandem.schemas.policies import Guardrails, Publish, Rollout, RoutingChange, RoutingState, VersionStats

NOW = datetime(2026, 11, 1, tzinfo=UTC)
GUARDRAILS = Guardrails()


def canary(percent: Literal[5, 25] = 5, version: str = "new", active: str | None = "old", stage_s: float | None = None) -> RoutingState:
    return RoutingState(
        revision=3, active=active, candidate=Rollout(version=version, percent=percent, since=NOW, guardrails=GUARDRAILS, stage_s=stage_s)
    )


def applied(new: NewState, revision: int = 1) -> RoutingState:
    """As a store would keep it."""
    candidate = Rollout.model_validate(json.loads(new.candidate_json) | {"since": NOW}) if new.candidate_json is not None else None
    return RoutingState(revision=revision, active=new.active, candidate=candidate, shadow=new.shadow, kill=new.kill)


def stats(decisions: int = 0, **counts: int) -> VersionStats:
    zero = dict.fromkeys(("slow", "checked", "failed_checks", "thumbs_up", "thumbs_down", "wrong_route", "reasks", "escalations"), 0)
    return VersionStats.model_validate({
        "version": "v",
        "arm": "stable",
        "decisions": decisions,
        "auto": decisions,
        "mean_latency_us": 1.0,
        **zero,
        **counts,
    })


@given(key=st.text(max_size=30), version=st.text(min_size=1, max_size=30))
def test_who_is_in_a_small_stage_is_in_every_larger_one(key: str, version: str) -> None:
    arms = [arm_of(canary(percent, version), key) for percent in (5, 25)]
    assert arms != ["candidate", "stable"]
    assert arms == [arm_of(canary(percent, version), key) for percent in (5, 25)]


@pytest.mark.parametrize("percent", [5, 25])
def test_a_stage_has_its_share_of_the_conversations(percent: Literal[5, 25]) -> None:
    state = canary(percent)
    found = sum(arm_of(state, f"thr_{number}") == "candidate" for number in range(20_000))
    assert abs(found / 20_000 - percent / 100) < 0.01


def test_the_next_candidate_draws_other_conversations() -> None:
    first, second = ({number for number in range(2_000) if arm_of(canary(25, version), str(number)) == "candidate"} for version in ("new", "newer"))
    assert len(first & second) < 0.5 * len(first)


def test_without_a_candidate_everybody_is_stable() -> None:
    assert arm_of(RoutingState(revision=0), "any") == "stable"


def test_published_at_once_a_policy_is_active() -> None:
    new = begin(RoutingState(revision=1, active="old", shadow="new", kill="rules"), "new", Publish(), "ada")
    assert (new.active, new.candidate_json, new.action, new.version, new.actor) == ("new", None, "publish", "new", "ada")
    assert (new.shadow, new.kill) == (None, "rules")  # what is active needs no shadow; the kill switch is nobody's to release here
    assert new.detail == {"percent": 100, "from": "old", "to": "new"}


def test_a_canary_goes_through_its_stages() -> None:
    state = applied(begin(RoutingState(revision=1, active="old"), "new", Publish(percent=5, stage_s=60), "ada"))
    assert (state.active, state.candidate) == ("old", Rollout(version="new", percent=5, since=NOW, guardrails=GUARDRAILS, stage_s=60))
    second = advance(state, "tandem")
    assert (second.action, second.is_new_stage) == ("advance", True)
    state = applied(second)
    assert state.candidate is not None
    assert (state.candidate.percent, state.candidate.stage_s) == (25, 60)
    last = advance(state, "tandem")
    assert (last.active, last.candidate_json, last.action) == ("new", None, "complete")


def test_publishing_the_candidate_again_moves_its_stage() -> None:
    assert json.loads(begin(canary(25), "new", Publish(percent=5), "ada").candidate_json or "")["percent"] == 5
    assert begin(canary(5), "new", Publish(), "ada").action == "complete"


def test_what_is_active_already_is_not_published() -> None:
    with pytest.raises(Conflict, match="'old' is active already"):
        begin(canary(), "old", Publish(), "ada")


def test_two_candidates_at_once_are_refused() -> None:
    with pytest.raises(Conflict, match=r"'new' is being rolled out \(5 %\).*roll it back before publishing 'other'"):
        begin(canary(), "other", Publish(percent=25), "ada")


def test_without_a_candidate_nothing_advances() -> None:
    with pytest.raises(Conflict, match="no rollout is under way"):
        advance(RoutingState(revision=1), "ada")


def test_a_candidate_is_withdrawn_and_the_active_policy_stays() -> None:
    new = roll_back(canary(), None, "tandem", "too slow", is_automatic=True, figures={"limit": 0.1})
    assert (new.active, new.candidate_json, new.action, new.version) == ("old", None, "auto_roll_back", "new")
    assert new.detail == {"reason": "too slow", "from": "old", "to": "old", "limit": 0.1}


def test_without_a_candidate_the_active_policy_is_withdrawn() -> None:
    new = roll_back(RoutingState(revision=2, active="new", kill="all_fast"), "old", "ada", "complaints")
    assert (new.active, new.action, new.version, new.kill) == ("old", "roll_back", "new", "all_fast")
    assert roll_back(RoutingState(revision=2, active="new"), None, "ada", "").active is None


def test_a_named_version_takes_over_from_candidate_and_active() -> None:
    assert roll_back(canary(), "older", "ada", "").active == "older"
    assert roll_back(canary(), "old", "ada", "").active == "old"


def test_a_rollback_to_what_is_active_is_refused() -> None:
    with pytest.raises(Conflict, match="nothing to roll back: 'old' decides already"):
        roll_back(RoutingState(revision=2, active="old"), "old", "ada", "")
    with pytest.raises(Conflict, match="'the policy of the settings' decides already"):
        roll_back(RoutingState(revision=2), None, "ada", "")


def test_a_shadow_or_kill_switch_leaves_the_rollout_alone() -> None:
    state = canary(25, stage_s=60)
    for new in (set_shadow(state, "x", "ada"), set_kill(state, "all_fast", "ada", "fire")):
        assert not new.is_new_stage
        assert applied(new).candidate == state.candidate


def test_the_kill_switch_is_thrown_and_released() -> None:
    thrown = set_kill(RoutingState(revision=1, active="old"), "rules", "ada", "worker down")
    assert (thrown.kill, thrown.action, thrown.detail) == ("rules", "kill", {"kill": "rules", "before": None, "reason": "worker down"})
    released = set_kill(applied(thrown), None, "ada")
    assert (released.kill, released.action, released.active) == (None, "unkill", "old")


def test_the_active_policy_is_no_shadow() -> None:
    with pytest.raises(Conflict, match="needs no shadow"):
        set_shadow(canary(), "old", "ada")
    assert set_shadow(canary(), None, "ada").shadow is None


class History:
    """Applies changes and keeps them, newest first."""

    def __init__(self) -> None:
        self.state = RoutingState(revision=0)
        self.lines: list[RoutingChange] = []

    def apply(self, change: Callable[[RoutingState], NewState]) -> None:
        new = change(self.state)
        revision = self.state.revision + 1
        self.state = applied(new, revision)
        fields = {name: value for name, value in asdict(new).items() if name in {"action", "version", "actor", "detail"}}
        numbered = {"number": revision} if "number" in RoutingChange.model_fields else {}
        self.lines.insert(0, RoutingChange.model_validate({"revision": revision, "at": NOW, **numbered, **fields}))

    def publish(self, version: str) -> None:
        self.apply(lambda state: begin(state, version, Publish(), "ada"))


def test_a_rollback_goes_to_what_was_active_before() -> None:
    history = History()
    assert previous_active(history.lines) is None
    for version in ("a", "b", "c"):
        history.publish(version)
    history.apply(lambda state: set_kill(state, "all_fast", "ada"))
    assert previous_active(history.lines) == "b"


def test_what_was_rolled_back_is_not_gone_back_to() -> None:
    history = History()
    for version in ("a", "b"):
        history.publish(version)
    history.apply(lambda state: roll_back(state, previous_active(history.lines), "ada", ""))
    assert (history.state.active, previous_active(history.lines)) == ("a", None)
    history.publish("c")
    assert previous_active(history.lines) == "a"


def test_a_canary_that_never_completed_was_never_active() -> None:
    history = History()
    history.publish("a")
    history.publish("b")
    history.apply(lambda state: begin(state, "c", Publish(percent=25), "ada"))
    assert previous_active(history.lines) == "a"
    history.apply(lambda state: roll_back(state, None, "tandem", "", is_automatic=True))
    assert (history.state.active, previous_active(history.lines)) == ("b", "a")
    history.apply(lambda state: begin(state, "c", Publish(percent=25), "ada"))
    history.apply(lambda state: advance(state, "ada"))
    assert previous_active(history.lines) == "b"


def test_a_rollback_to_a_version_that_never_decided_leaves_the_settings_behind_it() -> None:
    history = History()
    history.publish("a")
    history.apply(lambda state: roll_back(state, "draft", "ada", ""))
    history.publish("b")
    assert previous_active(history.lines) == "draft"


def test_a_stage_is_over_after_its_time_and_enough_decisions() -> None:
    rollout = Rollout(version="new", percent=5, since=NOW, guardrails=GUARDRAILS, stage_s=60)
    early, late = NOW + timedelta(seconds=59), NOW + timedelta(seconds=60)
    assert not is_stage_over(rollout, early)
    assert is_stage_over(rollout, late)
    assert not is_stage_over(rollout, late, stats(49))
    assert is_stage_over(rollout, late, stats(50))
    assert not is_stage_over(Rollout(version="new", percent=5, since=NOW, guardrails=GUARDRAILS), late + timedelta(days=9))


@pytest.mark.parametrize(
    ("candidate", "guardrail"),
    [
        (stats(200, slow=80), "slow_share"),
        (stats(200, slow=20, thumbs_down=14, reasks=14, wrong_route=14), "negative"),
        (stats(200, slow=20, escalations=40), "escalation"),
    ],
)
def test_an_injected_regression_breaks_its_guardrail(candidate: VersionStats, guardrail: str) -> None:
    stable = stats(2_000, slow=200, thumbs_down=40, escalations=40)
    (breach,) = judge(GUARDRAILS, stable, candidate, 0.0)
    assert breach.guardrail == guardrail
    assert breach.figures["guardrail"] == guardrail
    assert "of 200 against" in breach.message


def test_nothing_is_judged_before_enough_decisions() -> None:
    assert judge(GUARDRAILS, stats(2_000), stats(49, slow=49, escalations=49), 9_999.0) == []
    assert [each.guardrail for each in judge(GUARDRAILS, stats(2_000), stats(50, slow=50, escalations=50), 9_999.0)] == [
        "slow_share",
        "escalation",
        "queue_age",
    ]


def test_without_stable_traffic_there_is_nothing_to_compare() -> None:
    assert judge(GUARDRAILS, stats(0), stats(500, slow=500), 0.0) == []


def test_a_rise_that_chance_explains_breaks_nothing() -> None:
    assert judge(GUARDRAILS, stats(1_000, slow=100), stats(50, slow=11), 0.0) == []  # 22 % against 10 %, of 50 requests


def test_an_old_queue_breaks_its_guardrail() -> None:
    (breach,) = judge(GUARDRAILS, stats(900), stats(50), 301.0)
    assert (breach.guardrail, breach.message) == ("queue_age", "the oldest queued job waits 301 s, above 300 s")


def _looks_until_breach(rng: random.Random, slow: float, negative: float) -> int | None:
    """Decisions of the candidate when a guardrail broke, looked at after every one of up to 1,000."""
    counts = [0, 0]
    stable = stats(19_000, slow=3_800, thumbs_down=570)
    for decisions in range(1, 1_001):
        counts[0] += rng.random() < slow
        counts[1] += rng.random() < negative
        if decisions % 5 == 0 and judge(GUARDRAILS, stable, stats(decisions, slow=counts[0], thumbs_down=counts[1]), 0.0):
            return decisions
    return None


def test_a_candidate_that_is_no_worse_survives_hundreds_of_looks() -> None:
    rng = random.Random(4)  # noqa: S311 - a simulation, not a secret
    assert sum(_looks_until_breach(rng, 0.2, 0.03) is not None for _ in range(100)) <= 2


@pytest.mark.parametrize(("slow", "negative"), [(0.5, 0.03), (0.2, 0.2)])
def test_a_candidate_that_is_much_worse_is_found_out_soon(slow: float, negative: float) -> None:
    rng = random.Random(4)  # noqa: S311 - a simulation, not a secret
    found = sorted(_looks_until_breach(rng, slow, negative) or 9_999 for _ in range(40))
    assert found[20] <= 120
    assert found[-1] <= 500
