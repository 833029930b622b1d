import math
import random
from pathlib import Path

import pytest

from fast_model.calibrate import fitted, top_calibration_error
from fast_model.question_prompts import PROMPT_VERSION
from fast_model.readout_calibration import FOLDER, ReadoutCalibration, fit_temperature, load_calibration, mean_loss, tempered
from tandem.errors import SettingsInvalid


def drawn(temperature: float, rows: int = 2_000) -> tuple[list[list[float]], list[int]]:
    """Logits that are this many times too sure."""
    randomness = random.Random(3)  # noqa: S311 - reproducible rows
    logits = [[randomness.gauss(0, 1) for _ in range(4)] for _ in range(rows)]
    labels = [randomness.choices(range(4), tempered(row, 1.0))[0] for row in logits]
    return [[logit * temperature for logit in row] for row in logits], labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_probabilities_wrong_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)


def test_fitting_lowers_loss_and_calibration_error_and_leaves_the_order() -> None:
    logits, labels = drawn(3.0)
    figures = fitted(logits, labels)
    assert figures.loss_after < figures.loss_before
    assert figures.ece_after < 0.05 < figures.ece_before
    assert figures.rows == len(labels)


def test_tempered_probabilities_sum_to_1_also_of_extreme_logits() -> None:
    assert tempered([0.0, -9_999.0], 1.0) == [1.0, 0.0]
    assert sum(tempered([-3.0, -700.0, -2.0], 0.05)) == pytest.approx(1)


def test_the_loss_of_even_odds_is_that_of_a_guess() -> None:
    assert mean_loss([[0.0, 0.0]], [1], 5.0) == pytest.approx(math.log(2))


def test_calibration_error_is_the_gap_between_certainty_and_being_right() -> None:
    assert top_calibration_error([[0.9, 0.1]] * 10, [0] * 9 + [1]) == pytest.approx(0.18)
    assert top_calibration_error([[1.0, 0.0]] * 10, [0] * 10) == 0


def test_a_model_without_a_file_has_raw_probabilities(tmp_path: Path) -> None:
    calibration = load_calibration("any/model", tmp_path)
    assert (calibration.version, calibration.temperature("choice")) == ("none", 1.0)


@pytest.mark.parametrize("change", [{"model": "other"}, {"prompt_version": PROMPT_VERSION + 1}])
def test_a_calibration_of_another_model_or_prompt_is_not_used(tmp_path: Path, change: dict[str, object]) -> None:
    calibration = ReadoutCalibration(version="v1", model="a/b", prompt_version=PROMPT_VERSION, temperatures={}, sources=[])
    path = tmp_path / "a--b.json"
    path.write_text(calibration.model_dump_json(), encoding="utf-8")
    assert load_calibration("a/b", tmp_path).version == "v1"
    path.write_text(calibration.model_copy(update=change).model_dump_json(), encoding="utf-8")
    assert load_calibration("a/b", tmp_path).version == "none"


@pytest.mark.parametrize("content", ["", "{", '{"format": 2}', '{"format": 1, "version": "v"}'])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.json").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=r"m\.json.*python -m fast_model.calibrate"):
        load_calibration("m", tmp_path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_calibration_is_of_the_present_prompt(path: Path) -> None:
    calibration = ReadoutCalibration.model_validate_json(path.read_bytes())
    assert calibration.prompt_version == PROMPT_VERSION
    assert load_calibration(calibration.model).version == calibration.version
