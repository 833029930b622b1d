import json
from pathlib import Path

import pytest

from router.training.labels import read_labels
from router.training.rows import Known
from tandem.errors import InvalidRequest


def write(folder: Path, *rows: object) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def test_scores_and_wanted_lanes_become_rows(tmp_path: Path) -> None:
    rows = read_labels(
        write(
            tmp_path,
            {"text": "a", "fast_score": 0.0, "slow_score": 1.0},
            {"text": "b", "fast_score": 1.0, "slow_score": 1.0},
            {"text": "写", "wanted_lane": "slow"},
            {"text": "d", "fast_score": 1.0, "slow_score": 1.0, "wanted_lane": "slow"},
        )
    )
    assert [(row.text, row.label, row.language) for row in rows] == [("a", 1, "en"), ("b", 0, "en"), ("写", 1, "zh"), ("d", 1, "en")]
    assert rows[0].known == Known(fails=1.0, fixes=1.0, gain=1.0)
    assert rows[2].known == Known()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": ""}, "text"),
        ({"text": "a", "fast_score": 2}, "fast_score"),
        ({"text": "a", "wanted_lane": "medium"}, "wanted_lane"),
        ({"text": "a"}, "neither a wanted_lane nor both scores"),
        ({"text": "a", "fast_score": 1.0}, "neither a wanted_lane nor both scores"),
        ({"wanted_lane": "fast"}, "text"),
        ({"text": None, "wanted_lane": "fast"}, "no text"),
    ],
)
def test_a_bad_line_is_named(row: object, problem: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=rf"line 3, is no label \(.*{problem}"):
        read_labels(write(tmp_path, {"text": "a", "wanted_lane": "fast"}, row))


def test_rows_that_the_platform_exports_or_collects_are_read_as_they_are(tmp_path: Path) -> None:
    outcome = {"id": "out_1", "decision_id": "dec_1", "kind": "wrong_route", "status": "approved", "created_at": "2026-11-22T10:00:00Z"}
    rows = read_labels(
        write(
            tmp_path,
            outcome | {"text": "kept", "wanted_lane": "slow", "fast_score": None, "slow_score": None},
            outcome | {"text": None, "wanted_lane": "slow"},
            outcome | {"text": "says nothing of lanes", "wanted_lane": None},
            {"id": "gsm8k-1", "text": "collected", "fast_score": 0.5, "slow_score": 1.0, "fast_answers": ["1", None], "job_id": "job_1"},
        )
    )
    assert [(row.text, row.label) for row in rows] == [("kept", 1), ("collected", 1)]


def test_a_file_of_which_nothing_can_be_learnt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="TANDEM_ROUTER_LOG_PROMPTS"):
        read_labels(write(tmp_path, {"decision_id": "dec_1", "text": None, "wanted_lane": "slow"}))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"nowhere\.jsonl.*cannot be read"):
        read_labels(tmp_path / "nowhere.jsonl")
