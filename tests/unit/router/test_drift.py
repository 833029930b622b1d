import random
from collections.abc import Callable

import numpy as np
import pytest

from router.drift import drift, psi
from tandem.ids import DecisionId
from tandem.ports import LoggedDecision
from tandem.schemas.outcomes import Outcome
from tandem.schemas.policies import Drift

Logged = Callable[..., LoggedDecision]
MakeOutcome = Callable[..., Outcome]


def traffic(logged: Logged, size: int, seed: int, *, alpha: float = 0.5, zh: float = 0.4, maths: float = 0.3) -> list[LoggedDecision]:
    rng = random.Random(seed)  # noqa: S311 - reproducible traffic, not a secret
    return [
        logged(rng.betavariate(alpha, 1.5), language="zh" if rng.random() < zh else "en", intent="math" if rng.random() < maths else "chat")
        for _ in range(size)
    ]


def findings(newest: list[LoggedDecision], before: list[LoggedDecision], **more: object) -> dict[str, Drift]:
    found = drift(newest, before, outcomes={}, **more)  # pyright: ignore[reportArgumentType] - the cap alone is passed on
    return {each.what: each for each in found}


def test_equal_mixes_have_an_index_of_nothing() -> None:
    assert psi([500, 300, 200], [500, 300, 200]) == 0.0


def test_the_index_is_that_of_the_textbook() -> None:
    # 0.5/0.3/0.2 against 0.3/0.3/0.4: 0.2*ln(5/3) + 0.2*ln(2)
    assert psi([50_000, 30_000, 20_000], [30_000, 30_000, 40_000]) == pytest.approx(0.2 * np.log(5 / 3) + 0.2 * np.log(2), abs=1e-3)


def test_a_new_group_counts_and_an_empty_one_does_not() -> None:
    assert psi([900, 100, 0], [1_000, 0, 0]) > 0.25
    assert psi([500, 500, 0], [500, 500, 0]) == psi([500, 500], [500, 500])


def test_what_chance_makes_of_an_index_is_taken_off() -> None:
    rng = np.random.default_rng(3)
    samples = rng.multinomial(200, [0.1] * 10, size=(200, 2)).tolist()
    assert np.mean([psi(newest, before) for newest, before in samples]) < 0.03  # 0.09 before


def test_chance_alone_raises_no_alarm(logged: Logged) -> None:
    levels = [
        each.level
        for seed in range(20)
        for each in drift(traffic(logged, 300, seed), traffic(logged, 600, 1_000 + seed), outcomes={})
        if each.what != "calibration"
    ]
    assert len(levels) == 80
    assert levels.count("ok") >= 76
    assert "alarm" not in levels


def test_other_scores_are_found(logged: Logged) -> None:
    found = findings(traffic(logged, 500, 1, alpha=2.0), traffic(logged, 500, 2))
    assert (found["p_slow"].level, found["slow_share"].level, found["language"].level) == ("alarm", "alarm", "ok")


def test_another_language_mix_is_found(logged: Logged) -> None:
    found = findings(traffic(logged, 500, 1, zh=0.9), traffic(logged, 500, 2))
    assert (found["language"].level, found["intent"].level) == ("alarm", "ok")
    assert "moved most, from" in found["language"].message


def test_another_intent_mix_is_found(logged: Logged) -> None:
    assert findings(traffic(logged, 1_000, 1, maths=0.47), traffic(logged, 1_000, 2))["intent"].level == "watch"


def test_a_hundred_equal_scores_are_no_reason_to_stumble(logged: Logged) -> None:
    same = [logged(0.25) for _ in range(200)]
    assert findings(same, same)["p_slow"].level == "ok"
    assert findings([logged(0.1) for _ in range(200)], same)["p_slow"].level == "alarm"


def test_few_requests_say_nothing(logged: Logged) -> None:
    found = findings(traffic(logged, 199, 1), traffic(logged, 500, 2))
    assert {each.level for each in found.values()} == {"unknown"}
    assert found["language"].message == "199 requests against 500 before; 200 of each are needed"


def test_what_callers_forced_is_no_slow_share(logged: Logged) -> None:
    before = [logged(0.1 if number % 5 else 0.9) for number in range(500)]
    forced = [logged(0.1, lane="slow", override="lane") for _ in range(300)]
    slow_share = findings([*before, *forced], before)["slow_share"]
    assert (slow_share.value, slow_share.level) == (0.2, "ok")


def test_a_smaller_slow_share_is_told_as_well(logged: Logged) -> None:
    many, few = ([logged(0.9 if number % every == 0 else 0.1) for number in range(600)] for every in (3, 5))
    assert findings(few, many)["slow_share"].level == "alarm"
    assert findings(many, few)["slow_share"].message == "33.3% of 600 requests went slow, 20.0% of 600 before"


@pytest.mark.parametrize(("capped", "level"), [(0, "ok"), (12, "watch"), (40, "alarm")])
def test_a_cap_that_holds_requests_back_is_told(capped: int, level: str, logged: Logged) -> None:
    before = [logged(0.9 if number % 5 == 0 else 0.1) for number in range(500)]
    held = [logged(0.9, lane="fast", band="check", override="cap") for _ in range(capped)]
    slow_share = findings([*before, *held], before, slow_share_cap=0.2)["slow_share"]
    assert slow_share.level == level
    assert ("the cap of 20.0% held back" in slow_share.message) == (capped > 0)


def judged(
    logged: Logged, outcome: MakeOutcome, size: int, needed: Callable[[float], float]
) -> tuple[list[LoggedDecision], dict[DecisionId, list[Outcome]]]:
    rng = random.Random(7)  # noqa: S311 - reproducible traffic, not a secret
    log = [logged(rng.random()) for _ in range(size)]
    outcomes: dict[DecisionId, list[Outcome]] = {}
    for place, each in enumerate(log):
        is_needed = rng.random() < needed(each.decision.p_slow)
        scored = outcome(kind="answer_scored", fast_score=0.0 if is_needed else 1.0, slow_score=1.0)
        label = outcome(kind="wrong_route", status="approved", wanted_lane="slow" if is_needed else "fast")
        outcomes[each.id] = [scored if place % 2 else label]
    return log, outcomes


@pytest.mark.parametrize(("bias", "level"), [(0.0, "ok"), (0.07, "watch"), (0.2, "alarm")])
def test_the_calibration_is_held_against_what_was_judged(bias: float, level: str, logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = judged(logged, outcome, 2_000, lambda p_slow: p_slow - bias)
    (found,) = (each for each in drift(log, [], outcomes=outcomes) if each.what == "calibration")
    assert found.level == level
    assert found.value is not None


def test_few_judgements_say_nothing_of_the_calibration(logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = judged(logged, outcome, 199, lambda p_slow: p_slow)
    (found,) = (each for each in drift(log, [], outcomes=outcomes) if each.what == "calibration")
    assert (found.level, found.value) == ("unknown", None)
    assert "199 requests were judged; 200 are needed" in found.message
