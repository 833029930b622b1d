import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from router.evaluation.plot import reliability_svg
from router.evaluation.reliability import Bin, judge_reliability, read_predictions
from router.training.predictions import twin_key, write_predictions
from router.training.rows import make_row
from tandem.errors import InvalidRequest


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(language: str, p: float, slow: int, fast: int, source: str = "s") -> list[dict[str, object]]:
    return [{"source": source, "language": language, "label": label, "p": p} for label in [1] * slow + [0] * fast]


def test_a_probability_that_comes_true_has_no_error(tmp_path: Path) -> None:
    found = judge_reliability(read_predictions(write(tmp_path / "p.jsonl", rows_of("en", 0.25, 10, 30))))
    english = found["by_language"]["en"]
    assert english["rows"] == 40
    assert english["slow"] == english["mean"] == 0.25
    assert english["brier"] == pytest.approx(0.25 * 0.75)
    assert english["auroc"] == pytest.approx(0.5)


def test_the_error_is_the_gap_and_each_language_has_its_own(tmp_path: Path) -> None:
    rows = rows_of("en", 0.9, 0, 30) + rows_of("zh", 1.0, 30, 0)
    found = judge_reliability(read_predictions(write(tmp_path / "p.jsonl", rows)))["by_language"]
    assert found["en"]["ece"] == pytest.approx(0.9)
    assert found["zh"]["ece"] == 0
    assert found["zh"]["auroc"] is None
    assert found["all"]["ece"] == pytest.approx(0.45)
    assert found["all"]["auroc"] == 1.0


def test_sources_are_told_apart_by_language(tmp_path: Path) -> None:
    rows = rows_of("en", 0.9, 9, 6, "arena") + rows_of("zh", 0.9, 9, 6, "arena")
    assert list(judge_reliability(read_predictions(write(tmp_path / "p.jsonl", rows)))["by_source"]) == ["arena/en", "arena/zh"]


def test_bins_hold_equal_mass_and_rise(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"source": "s", "language": "en", "label": int(n >= 75), "p": n / 150} for n in range(150)]
    bins = judge_reliability(read_predictions(write(tmp_path / "p.jsonl", rows)))["bins"]["en"]
    assert [each["rows"] for each in bins] == [10] * 15
    assert [each["predicted"] for each in bins] == sorted(each["predicted"] for each in bins)
    assert [each["observed"] for each in bins] == [0.0] * 7 + [0.5] + [1.0] * 7


def test_rows_without_label_or_weight_are_kept_for_their_key_alone(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        *rows_of("en", 0.5, 10, 10),
        {"source": "s", "language": "en", "label": None, "p": 0.7, "key": "a"},
        {"source": "s", "language": "en", "label": 1, "weight": 0, "p": 0.8, "score": 2.5, "key": "b"},
    ]
    found = read_predictions(write(tmp_path / "p.jsonl", rows))
    assert len(found.p) == 20
    assert found.by_key == {"a": 0.7, "b": 2.5}


@pytest.mark.parametrize(
    ("line", "problem"), [('{"source": "s"}', "line 16"), ("nonsense", "line 16"), ('{"source":"s","language":"en","p":2}', "p ")]
)
def test_a_line_that_is_no_prediction_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = write(tmp_path / "p.jsonl", rows_of("en", 0.5, 10, 5))
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=problem):
        read_predictions(path)


def test_too_few_predictions_for_the_bins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="holds 3 labelled"):
        read_predictions(write(tmp_path / "p.jsonl", rows_of("en", 0.5, 2, 1)))


def test_the_plot_is_an_image_with_a_dot_per_bin() -> None:
    bins = {
        "en": [Bin(predicted=0.1, observed=0.2, rows=5), Bin(predicted=0.9, observed=0.8, rows=5)],
        "zh": [Bin(predicted=0.5, observed=0.5, rows=9)],
    }
    drawn = reliability_svg(bins, {"en": 0.1, "zh": 0.0})
    root = ET.fromstring(drawn)  # noqa: S314 - our own text
    dots = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 3
    assert "English: ECE 0.100" in drawn
    x, y = float(dots[0].attrib["cx"]), float(dots[0].attrib["cy"])
    assert (x, y) == (48 + 26, 48 + 0.8 * 260)


def test_what_training_writes_is_read_back_without_a_prompt(tmp_path: Path) -> None:
    rows = [make_row(f"question {n}", "slow" if n % 2 else "fast", "made up", n) for n in range(20)]
    path = tmp_path / "p.jsonl"
    write_predictions(path, rows, np.linspace(0, 1, 20), np.linspace(-3, 3, 20), np.ones(20))
    found = read_predictions(path)
    assert found.by_key[twin_key("Question  19")] == 3.0
    assert found.labels.tolist() == [0.0, 1.0] * 10
    assert "question" not in path.read_text(encoding="utf-8")
