"""``tandem router calibrate``, on the shipped artefact."""

import json
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from router.artifacts import SHIPPED, load_classifier
from router.evaluation.material import read_probes
from router.training.rows import seed_rows
from tandem.cli.entry import run
from tandem.ports import Classifier, Turns
from tandem.schemas.routing import Lane

TEXTS = [probe.text for probe in read_probes()] + sorted({row.text for row in seed_rows(random.Random(1))})[::12]  # noqa: S311 - a reproducible draw


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))


@pytest.fixture
def labels(tmp_path: Path, shipped: Classifier) -> Callable[[Callable[[float], Lane]], str]:
    """Writes a file of labels that a rule gives by P(slow)."""

    def write(rule: Callable[[float], Lane], texts: Sequence[str] = TEXTS) -> str:
        path = tmp_path / "labels.jsonl"
        rows = [{"text": text, "wanted_lane": rule(shipped.score(Turns(text=text)).p_slow)} for text in texts]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


def strict(p_slow: float) -> Lane:
    """Traffic where far less deserves the slow lane than the artefact thinks."""
    return "slow" if p_slow > 0.97 else "fast"


def contrary(p_slow: float) -> Lane:
    return "fast" if p_slow > 0.5 else "slow"


def always_fast(_p_slow: float) -> Lane:
    return "fast"


def test_probabilities_follow_the_labels_and_their_order_stays(
    labels: Callable[[Callable[[float], Lane]], str], shipped: Classifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    assert run(["router", "calibrate", "--labels", labels(strict), "--out", str(out)]) == 0
    new = load_classifier(out / SHIPPED.name)
    assert new.version == f"{shipped.version}-recalibrated"
    english = [text for text in TEXTS if text.isascii()]
    before, after = ([one.score(Turns(text=text)).p_slow for text in english] for one in (shipped, new))
    assert sum(after) < sum(before)
    order = sorted(range(len(english)), key=before.__getitem__)
    assert all(after[low] <= after[high] + 1e-9 for low, high in pairwise(order))
    shown = capsys.readouterr().out
    everything = next(line.split() for line in shown.splitlines() if line.startswith("all"))
    assert float(everything[3]) < float(everything[2])


def test_the_weights_stay_as_they_are(labels: Callable[[Callable[[float], Lane]], str], tmp_path: Path) -> None:
    out = tmp_path / "new"
    run(["router", "calibrate", "--labels", labels(strict), "--out", str(out), "--version", "mine-1"])
    old, new = (json.loads(path.read_bytes()) for path in (SHIPPED, out / SHIPPED.name))
    assert new["version"] == "mine-1"
    assert new["weights_sha256"] == old["weights_sha256"]
    assert (out / old["weights_file"]).read_bytes() == SHIPPED.with_name(old["weights_file"]).read_bytes()
    assert (out / "metrics.json").exists()


@pytest.mark.parametrize(
    ("rule", "problem"),
    [(contrary, "do not rise with P"), (always_fast, "0 of them slow, are too few")],
    ids=["contradicting", "one lane only"],
)
def test_labels_that_cannot_be_fitted_are_refused(
    rule: Callable[[float], Lane],
    problem: str,
    labels: Callable[[Callable[[float], Lane]], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["router", "calibrate", "--labels", labels(rule), "--out", str(tmp_path / "new")]) == 1
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_artefact_itself_is_never_overwritten(labels: Callable[[Callable[[float], Lane]], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["router", "calibrate", "--labels", labels(strict), "--out", str(SHIPPED.parent)]) == 1
    assert "the folder of the artefact itself" in capsys.readouterr().err


@pytest.mark.parametrize("sources", [[], ["--labels", "a", "--data", "b"]])
def test_rows_come_from_labels_or_from_the_public_sets(sources: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["router", "calibrate", "--out", str(tmp_path / "new"), *sources]) == 1
    assert "either --labels or --data" in capsys.readouterr().err
