import random

import numpy as np
import pytest

from router.effort import effort_for
from router.heads import HEADS, Blend
from router.text import read_text
from router.training.augment import perturbed, perturbed_copies
from router.training.balance import cell_weights
from router.training.gains import blended, smoothed
from router.training.rows import make_row
from tandem.ports import Classifier, Score, Turns

BLEND = Blend(limit=4.0, exam_slope=2.0, exam_fails=0.25, exam_offset=0.5, math_slope=3.0, math_offset=-1.0)


def score(kind: float, exam: float, math: float, gain: float) -> float:
    return BLEND.kind_share(kind, exam) * kind + BLEND.exam_part(gain, -gain, exam) + BLEND.math_part(gain, math)


@pytest.mark.parametrize(("exam", "math"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.9)])
def test_training_and_serving_blend_alike(exam: float, math: float) -> None:
    kinds, gains = np.array([-6.0, -0.5, 0.0, 0.5, 7.0]), np.array([0.1, -0.2, 0.3, 0.0, 0.4])
    served = [score(float(kind), exam, math, float(gain)) for kind, gain in zip(kinds, gains, strict=True)]
    ones = np.ones(len(kinds))
    assert blended(BLEND, kinds, (gains, -gains), gains, exam * ones, math * ones) == pytest.approx(served)


def test_the_kind_decides_and_the_gain_ranks_where_it_is_certain() -> None:
    assert score(8.0, 0, 0, 0) < BLEND.limit
    assert score(9.0, 0, 1, 0.1) < score(7.0, 0, 1, 0.3)
    assert score(-1.0, 0, 0, 5.0) < score(1.0, 0, 0, -5.0)


def test_a_gain_is_drawn_to_the_mean_of_its_subject() -> None:
    gains = np.array([1.0] * 30 + [-1.0] * 2 + [-1.0] * 30)
    one, other = smoothed(gains, ["a"] * 32 + ["b"] * 30)[[30, 40]]
    assert other < one < 0.5
    assert smoothed(gains, ["a"] * 32 + ["b"] * 30)[0] < 1


def test_cells_weigh_alike_and_rows_without_one_nothing() -> None:
    rows = [make_row(f"text {n}", "fast", "s" if n < 8 else "t", n) for n in range(12)]
    weights = cell_weights(rows, ["a"] * 9 + ["b", "b", None])
    assert weights[:9].sum() == pytest.approx(weights[9:11].sum())
    assert weights[11] == 0
    assert weights[:8].sum() == pytest.approx(8**0.5 * weights[8])


def test_copies_keep_the_group_and_change_the_wording() -> None:
    rows = [make_row("How far is it from Oslo to Bergen?", "fast", "s", n) for n in range(20)]
    rows += [make_row("从北京到上海有多远？", "fast", "s", n) for n in range(20)] + [make_row("x", None, "s", 40)]
    copies = perturbed_copies(rows, random.Random(1))  # noqa: S311 - a reproducible draw, not a secret
    assert 0 < len(copies) < len(rows)
    assert {copy.group for copy in copies} < {row.group for row in rows[:40]}
    assert all(copy.is_copy and copy.text not in {row.text for row in rows} for copy in copies)


@pytest.mark.parametrize("text", ["", "a", "1 + 1", "你好", "  "])
def test_short_texts_can_be_perturbed(text: str) -> None:
    for seed in range(30):
        perturbed(text, random.Random(seed), is_chinese=text == "你好")  # noqa: S311 - as above


def test_a_score_says_all_its_probabilities(shipped: Classifier) -> None:
    for text in ("hi", "证明根号3是无理数", "Which?\nA. x\nB. y\nC. z\nD. w"):
        found = shipped.score(Turns(text=text))
        for value in (found.p_slow, found.p_fast_fails, found.p_slow_fixes, found.p_tools):
            assert value is not None
            assert 0 <= value <= 1
    assert len(HEADS) == len(set(HEADS))


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("hi", "chat"),
        ("你好", "chat"),
        ("Tom has 3 apples and buys 4 more. How many apples has he?", "math"),
        ("小明有3个苹果，又买了4个，一共多少个？", "math"),
        ("用Python写一个函数，解析日期", "code"),
        ("write a python function that parses dates", "code"),
        ("深入调研新能源汽车行业的现状与趋势，写一份报告", "research"),
        ("plan a three-day trip to Kyoto under $800", "planning"),
    ],
)
def test_the_intent_is_recognised(text: str, intent: str, shipped: Classifier) -> None:
    assert shipped.score(Turns(text=text)).intent == intent


def test_the_effort_needs_no_second_look_at_the_text() -> None:
    easy = read_text("hello")
    assert effort_for(easy, Score(p_slow=0.9, contributions=(), demand=2.0)) == "high"
    assert effort_for(easy, Score(p_slow=0.9, contributions=(), demand=0.0)) == "medium"
    assert effort_for(easy, Score(p_slow=0.6, contributions=(), demand=2.0)) == "medium"


def test_a_score_without_a_demand_is_judged_by_the_text() -> None:
    assert effort_for(read_text("Prove it."), Score(p_slow=0.9, contributions=())) == "high"
    assert effort_for(read_text("hello"), Score(p_slow=0.9, contributions=())) == "medium"
