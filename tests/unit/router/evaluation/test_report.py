import json
from pathlib import Path

import numpy as np
import pytest

from router.evaluation.in_domain import FeatureRidge, cross_validated, from_gold
from router.evaluation.material import FILES, read_material
from router.evaluation.outcomes import OutcomeSet, PeerScore, read_outcome_sets, read_peers
from router.evaluation.report import SEEN, UNSAID, labels_used
from router.evaluation.report import UNSEEN as NOT_SEEN
from router.evaluation.routellm import AS_IS, IN_DOMAIN, LENGTH, QUERY_ORACLE, SUBJECT_ORACLE, TRANSFER, UNSEEN, Contenders, judge_sets
from router.training.predictions import prompt_key, twin_key
from router.training.protocol import Outcomes
from tandem.errors import InvalidRequest
from tandem.ports import Score, Turns


class ByLength:
    """The longer, the slower."""

    version = "by-length"

    def score(self, turns: Turns) -> Score:
        return Score(p_slow=min(len(turns.text) / 1_000, 1.0), contributions=())


def test_every_router_is_judged_on_every_set(data: Path) -> None:
    sets = read_outcome_sets(data)
    peers = {prompt_key(prompt): {"peer": PeerScore(score=1.0, tier=0, us=1.0)} for one in sets for prompt in one.prompts}
    unseen = {twin_key(prompt.upper()): 0.5 for prompt in sets[0].prompts}
    found = judge_sets(sets, Contenders(ByLength(), peers, unseen), seed=1, resamples=20)
    assert list(found) == ["gsm8k", "mmlu"]
    assert set(found["gsm8k"]["routers"]) == {AS_IS, UNSEEN, IN_DOMAIN, TRANSFER, LENGTH, "peer", QUERY_ORACLE}
    assert set(found["mmlu"]["routers"]) == {AS_IS, IN_DOMAIN, TRANSFER, LENGTH, "peer", SUBJECT_ORACLE, QUERY_ORACLE}
    assert found["gsm8k"]["gold"] is None


def test_a_router_by_length_ties_with_length(data: Path) -> None:
    line = judge_sets(read_outcome_sets(data), Contenders(ByLength(), {}, {}), seed=1, resamples=20)["gsm8k"]["routers"][LENGTH]
    assert line["ahead"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_peer_that_misses_a_prompt_is_left_out(data: Path) -> None:
    sets = read_outcome_sets(data)
    peers = {prompt_key(prompt): {"peer": PeerScore(score=1.0, tier=0, us=1.0)} for prompt in sets[0].prompts[:-1]}
    assert "peer" not in judge_sets(sets[:1], Contenders(ByLength(), peers, {}), seed=1, resamples=20)["gsm8k"]["routers"]


def learnable(rows: int) -> OutcomeSet:
    """The weak model fails on physics, which the words show."""
    prompts = [f"A {'physics' if n % 2 else 'history'} question, number {n}" for n in range(rows)]
    return OutcomeSet("made up", prompts, Outcomes(np.array([float(n % 2 == 0) for n in range(rows)]), np.ones(rows)), None)


def test_cross_validation_learns_what_the_words_show() -> None:
    one = learnable(80)
    scores = cross_validated(FeatureRidge(one.prompts), one, seed=1)
    assert scores[1::2].min() > scores[::2].max()


def test_gold_labels_are_not_judged() -> None:
    one = learnable(1_520)
    rows, scores = from_gold(FeatureRidge(one.prompts), one, seed=1)
    assert len(rows) == len(scores) == 20
    assert scores[rows % 2 == 1].min() > scores[rows % 2 == 0].max()


def test_peers_are_read_by_prompt(tmp_path: Path) -> None:
    path = tmp_path / "peers.jsonl"
    path.write_text('{"key": "k", "litellm_v1": {"score": -0.1, "tier": 2, "us": 800}}\n', encoding="utf-8")
    assert read_peers(path)["k"]["litellm_v1"].tier == 2


@pytest.mark.parametrize("line", ["{}", "nonsense", "[]", '{"key": "k", "peer": {"score": "high"}}'])
def test_a_line_that_is_no_peers_score_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "peers.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="line 1"):
        read_peers(path)


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"routellm_gsm8k_dev\.jsonl"):
        read_outcome_sets(tmp_path)


def test_a_row_that_is_no_outcome_is_named(tmp_path: Path) -> None:
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing" / "routellm_gsm8k_dev.jsonl").write_text('{"prompt": "x", "weak": 1}\n', encoding="utf-8")
    with pytest.raises(InvalidRequest, match="line 1: strong"):
        read_outcome_sets(tmp_path)


def test_material_is_read_of_every_kind(data: Path) -> None:
    material = read_material(data)
    assert set(material) == set(FILES)
    assert all(len(set(texts)) == len(texts) > 0 for texts in material.values())
    assert all("flight" in text for text in material["tools (en)"])


def test_material_of_another_shape_is_told(tmp_path: Path) -> None:
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing" / "clinc150_train.jsonl").write_text('{"utterance": "x"}\n', encoding="utf-8")
    with pytest.raises(InvalidRequest, match="no 'text'"):
        read_material(tmp_path)


def test_whether_an_artefact_has_seen_the_outcomes_is_told(tmp_path: Path) -> None:
    manifest = tmp_path / "linear.json"
    assert labels_used(manifest) == UNSAID
    (tmp_path / "metrics.json").write_text(json.dumps({"gains": {"mmlu": {}}}), encoding="utf-8")
    assert labels_used(manifest) == SEEN
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    assert labels_used(manifest) == NOT_SEEN
