import numpy as np
import pytest

from router.evaluation.weeks import TARGETS, WEEKDAY, WEEKEND, judge_weeks, slow_at
from tandem.ports import Score, Turns

MATERIAL = {kind: [f"{place / 1_000:.3f} {kind}" for place in range(1_000)] for kind in WEEKDAY}


class AsWritten:
    """P(slow) is the number at the front of the text."""

    version = "as-written"

    def score(self, turns: Turns) -> Score:
        return Score(p_slow=float(turns.text.split()[0]), contributions=())


@pytest.mark.parametrize("mix", [WEEKDAY, WEEKEND])
def test_a_mix_is_whole(mix: dict[str, float]) -> None:
    assert sum(mix.values()) == pytest.approx(1.0)


def test_the_cut_sends_the_target_share_of_its_own_week_slow() -> None:
    p = np.linspace(0, 1, 1_001)
    assert float((p >= slow_at(p, 0.15)).mean()) == pytest.approx(0.15, abs=0.001)


def test_like_traffic_lands_near_the_target() -> None:
    found = judge_weeks(AsWritten(), MATERIAL, seed=1, pairs=8)
    assert [landing["target"] for landing in found["same"]] == list(TARGETS)
    assert all(landing["mean_error"] < 0.02 for landing in found["same"])
    assert found["requests"] == pytest.approx(6_200, rel=0.05)


def test_traffic_that_shifts_to_hard_kinds_overshoots() -> None:
    hard = {
        kind: [text if kind not in {"hard questions", "research briefs"} else f"1.0 {text}" for text in texts] for kind, texts in MATERIAL.items()
    }
    found = judge_weeks(AsWritten(), hard, seed=1, pairs=8)
    assert found["shifted"][2]["mean"] > found["same"][2]["mean"] + 0.03


def test_the_same_seed_gives_the_same_weeks() -> None:
    assert judge_weeks(AsWritten(), MATERIAL, seed=1, pairs=2) == judge_weeks(AsWritten(), MATERIAL, seed=1, pairs=2)
