import random

import numpy as np
import pytest

from router.training.balance import balanced_weights
from router.training.dedupe import dedupe, normalise
from router.training.metrics import auroc, brier, calibration_error, share_of
from router.training.rows import Row, make_row, seed_rows

ONES = np.ones(4)


def randomness(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret


def row(text: str, label: int | None = 0, language: str = "en", source: str = "s") -> Row:
    return Row(text=text, label=label, language=language, source=source, group=text)


@pytest.mark.parametrize(
    ("scores", "area"),
    [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5, 0.5, 0.5, 0.5], 0.5), ([0.1, 0.5, 0.5, 0.9], 0.875)],
)
def test_auroc_is_the_chance_of_the_right_order(scores: list[float], area: float) -> None:
    assert auroc(np.array(scores), np.array([0.0, 0.0, 1.0, 1.0]), ONES) == pytest.approx(area)


def test_auroc_counts_a_weight_like_repeated_rows() -> None:
    weighted = auroc(np.array([0.1, 0.6, 0.5]), np.array([0.0, 0.0, 1.0]), np.array([3.0, 1.0, 2.0]))
    repeated = auroc(np.array([0.1, 0.1, 0.1, 0.6, 0.5, 0.5]), np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0]), np.ones(6))
    assert weighted == pytest.approx(repeated)


def test_probabilities_that_are_right_have_no_calibration_error() -> None:
    p = np.repeat(np.linspace(0.1, 0.9, 15), 10)
    labels = np.concatenate([np.arange(10) < round(value * 10) for value in np.linspace(0.1, 0.9, 15)]).astype(float)
    assert calibration_error(p, labels, np.ones(150)) < 0.03


def test_a_constant_that_is_wrong_has_its_gap_as_calibration_error() -> None:
    assert calibration_error(np.full(100, 0.9), np.zeros(100), np.ones(100)) == pytest.approx(0.9)


def test_the_brier_score_is_the_mean_squared_error() -> None:
    assert brier(np.array([0.0, 0.5]), np.array([0.0, 1.0]), np.ones(2)) == pytest.approx(0.125)


def test_the_wilson_interval_matches_the_textbook() -> None:
    share = share_of(np.arange(10) < 1)
    assert (share["share"], share["rows"]) == (0.1, 10)
    assert share["low"] == pytest.approx(0.0179, abs=1e-4)
    assert share["high"] == pytest.approx(0.4042, abs=1e-4)


def test_repeated_prompts_are_kept_once() -> None:
    result = dedupe([row("Hello  World"), row("hello world"), row("ＨＥＬＬＯ world"), row("other")], [])
    assert ([kept.text for kept in result.rows], result.repeated) == (["Hello  World", "other"], 2)


@pytest.mark.parametrize(
    ("text", "scored"),
    [
        (
            "one two three four five six seven eight nine ten eleven twelve thirteen and more",
            "so: one two three four five six seven eight nine ten eleven twelve thirteen",
        ),
        ("请问甲乙两地相距一百二十千米怎样走", "甲乙两地相距一百二十千米怎样走最快"),
        ("short", "Short"),
    ],
)
def test_rows_that_overlap_a_scored_prompt_are_removed(text: str, scored: str) -> None:
    result = dedupe([row(text), row("something else")], [scored])
    assert ([kept.text for kept in result.rows], result.overlapping) == (["something else"], 1)


def test_option_letters_do_not_hide_a_repetition() -> None:
    assert normalise("Which?\nA. one\nB. two\nAnswer:") == normalise("which?\n(a) one\n(b) two")


def test_seeds_cover_both_lanes_in_both_languages() -> None:
    rows = list(seed_rows(randomness(1)))
    cells = {(one.language, one.label): 0 for one in rows}
    for one in rows:
        cells[one.language, one.label] += 1
    assert min(cells[language, label] for language in ("en", "zh") for label in (0, 1)) > 200
    assert not [one.text for one in rows if "{" in one.text and "}" in one.text and "_zh}" in one.text]


def test_the_same_seed_gives_the_same_rows() -> None:
    assert list(seed_rows(randomness(3))) == list(seed_rows(randomness(3)))


def test_a_row_has_the_language_that_serving_would_detect() -> None:
    assert make_row("你好", "fast", "s", 1) == Row("你好", 0, "zh", "s", "s:1")


def test_weights_balance_lanes_within_each_language() -> None:
    rows = [*(row("short words", 0) for _ in range(50)), *(row("x " * 90, 1) for _ in range(5)), *(row("x " * 90, 0) for _ in range(5))]
    rows += [*(row("你好", 0, "zh") for _ in range(20)), *(row("证明它", 1, "zh") for _ in range(2))]
    weights = balanced_weights(rows)
    mass: dict[tuple[str, int | None], float] = {(language, label): 0.0 for language in ("en", "zh") for label in (0, 1)}
    for one, weight in zip(rows, weights, strict=True):
        mass[one.language, one.label] += weight
    assert weights.mean() == pytest.approx(1)
    assert max(mass.values()) == pytest.approx(min(mass.values()))


def test_length_does_not_tell_the_lane_after_weighting() -> None:
    rows = [*(row("a" * size, 0) for size in range(10, 60)), *(row("a" * size, 1) for size in range(40, 90))]
    labels, lengths = np.array([one.label for one in rows], dtype=float), np.array([len(one.text) for one in rows], dtype=float)
    overlap = (lengths >= 40) & (lengths < 60)
    plain, weighted = np.ones(len(rows)), balanced_weights(rows)
    assert auroc(lengths, labels, weighted) < auroc(lengths, labels, plain)
    assert weighted[overlap].mean() > weighted[~overlap].mean()
