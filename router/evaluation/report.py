"""The whole evaluation of one artefact, in chapters. Composes the measures; knows nothing of printing."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from router.artifacts import SHIPPED
from router.evaluation.lanes import Lanes, Prompts, judge_lanes
from router.evaluation.material import read_material, read_probes
from router.evaluation.outcomes import Peers, read_outcome_sets
from router.evaluation.reliability import Predictions, Reliability, judge_reliability
from router.evaluation.robustness import Flips, judge_robustness
from router.evaluation.routellm import Contenders, SetFigures, judge_sets
from router.evaluation.weeks import Weeks, judge_weeks
from router.policy import Policy
from tandem.ports import Classifier

Progress = Callable[[str], None]

EVERYDAY: Final[Mapping[str, Sequence[str]]] = {"en": ("assistant (en)", "support (en)"), "zh": ("task dialogue (zh)",)}
"""Kinds of traffic that should stay fast."""
GAINS_KEY: Final = "gains"
"""Figures of the heads that learn from these sets' outcomes; an artefact without such heads has none."""
SEEN: Final = "in it, as labels of the gain heads. The line as shipped is therefore of rows it has seen; read the one of unseen rows"
UNSEEN: Final = "not in it, so the line as shipped shows transfer"
UNSAID: Final = "unknown, as no metrics.json is beside the artefact; take the line as shipped for rows it has seen"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What is judged, and with what."""

    classifier: Classifier
    policy: Policy
    artifact: Path
    peers: Peers
    predictions: Predictions | None


class Report(TypedDict):
    """All chapters."""

    model_version: str
    policy_version: str
    check_at: float
    slow_at: float
    seed: int
    resamples: int
    routellm_labels: str
    """How the outcomes of the judged sets were used in training."""
    routellm: dict[str, SetFigures]
    reliability: Reliability | None
    """None without predictions for unseen rows."""
    lanes: Lanes
    robustness: dict[str, dict[str, Flips]]
    weeks: Weeks


def evaluate(data: Path, judged: Evaluated, *, seed: int, resamples: int, progress: Progress) -> Report:
    """Judge on the sets of a data folder."""
    material = read_material(data)
    progress("outcomes of RouteLLM")
    unseen: Mapping[str, float] = judged.predictions.by_key if judged.predictions is not None else {}
    routellm = judge_sets(read_outcome_sets(data), Contenders(judged.classifier, judged.peers, unseen), seed=seed, resamples=resamples)
    progress("briefs and small talk")
    everyday = {language: [text for kind in kinds for text in material[kind]] for language, kinds in EVERYDAY.items()}
    lanes = judge_lanes(judged.classifier, judged.policy, Prompts(read_probes(), material["research briefs"], everyday), judged.peers)
    progress("changed wordings")
    robustness = judge_robustness(judged.classifier, judged.policy, material, seed=seed)
    progress("weeks of traffic")
    bands = judged.policy.document.bands
    return Report(
        model_version=judged.classifier.version,
        policy_version=judged.policy.version,
        check_at=bands.check_at,
        slow_at=bands.slow_at,
        seed=seed,
        resamples=resamples,
        routellm_labels=labels_used(judged.artifact),
        routellm=routellm,
        reliability=None if judged.predictions is None else judge_reliability(judged.predictions),
        lanes=lanes,
        robustness=robustness,
        weeks=judge_weeks(judged.classifier, material, seed=seed),
    )


def labels_used(artifact: Path | None) -> str:
    """What the artefact's own metrics say of the judged sets' outcomes."""
    path = (artifact or SHIPPED).with_name("metrics.json")
    if not path.is_file():
        return UNSAID
    return SEEN if json.loads(path.read_text(encoding="utf-8")).get(GAINS_KEY) else UNSEEN
