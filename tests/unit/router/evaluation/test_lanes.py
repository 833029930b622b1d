import random

import pytest

from router.evaluation.lanes import Prompts, judge_lanes
from router.evaluation.material import Probe, halves, read_probes
from router.evaluation.outcomes import Peers, PeerScore
from router.evaluation.robustness import judge_robustness
from router.policy import Policy, default_policy
from router.training.predictions import prompt_key
from router.training.rows import seed_rows
from tandem.ports import Classifier, Score, Turns
from tandem.settings import RouterSettings

POLICY: Policy = default_policy(RouterSettings(threshold=0.5, check_at=0.3))


class ByWords:
    """P(slow) by the words of a text, 0.1 where none stands."""

    version = "by-words"

    def __init__(self, chances: dict[str, float]) -> None:
        self._chances = chances

    def score(self, turns: Turns) -> Score:
        return Score(p_slow=next((p for word, p in self._chances.items() if word in turns.text), 0.1), contributions=())


PROBES = [
    Probe(kind="brief", language="en", text="study this"),
    Probe(kind="brief", language="en", text="what of that"),
    Probe(kind="brief", language="zh", text="研究一下这个问题"),
    Probe(kind="talk", language="en", text="hello"),
    Probe(kind="talk", language="zh", text="你好吗"),
]
EVERYDAY = {"en": [f"alarm {n}" for n in range(20)], "zh": [f"闹钟{n}" for n in range(20)]}


def test_recall_is_told_per_language_and_a_checked_brief_is_noticed() -> None:
    classifier = ByWords({"study": 0.9, "what": 0.4, "研究": 0.8})
    found = judge_lanes(classifier, POLICY, Prompts(PROBES, ["study much"], EVERYDAY), {})
    own = found["briefs"]["own probe, never trained on"]
    assert (own["recall"]["en"]["share"], own["recall"]["zh"]["share"]) == (0.5, 1.0)
    assert own["noticed"]["en"]["share"] == 1.0
    assert found["missed"] == []
    assert found["talk"]["zh"]["share"] == 0.0


def test_a_brief_that_stays_fast_is_named() -> None:
    found = judge_lanes(ByWords({"研究": 0.8}), POLICY, Prompts(PROBES, ["study much"], EVERYDAY), {})
    assert found["missed"] == ["study this", "what of that"]


def test_at_an_equal_share_each_language_has_its_own_cut() -> None:
    # Chinese everyday traffic scores higher than the Chinese brief; under one cut for both the gap would not show.
    classifier = ByWords({"study": 0.9, "what": 0.9, "研究": 0.3, "闹钟": 0.6})
    found = judge_lanes(classifier, POLICY, Prompts(PROBES, ["study much"], EVERYDAY), {})
    at_5 = found["briefs"]["own probe, never trained on"]["equal"][0]
    assert (at_5["en"]["share"], at_5["zh"]["share"], at_5["gap"]) == (1.0, 0.0, 100.0)


def test_another_router_is_shown_where_it_scored_every_prompt() -> None:
    peers: Peers = {prompt_key(probe.text): {"peer": PeerScore(score=1, tier=int(probe.language == "zh"), us=1)} for probe in PROBES}
    found = judge_lanes(ByWords({}), POLICY, Prompts(PROBES, ["study much"], EVERYDAY), peers)
    assert found["peers"]["own probe, never trained on"]["peer"]["en"]["share"] == 0.0
    assert found["peers_talk"]["peer"]["zh"]["share"] == 1.0
    assert found["peers"]["Deep Research Bench half"] == {}


@pytest.mark.parametrize(("word", "flips"), [("Hi!", True), ("never there", False)])
def test_a_flip_is_counted_for_the_change_that_causes_it(word: str, *, flips: bool) -> None:
    classifier: Classifier = ByWords({word: 0.9})
    found = judge_robustness(classifier, POLICY, {"questions": [f"where is station {n}" for n in range(30)]}, seed=1)["en"]
    assert (found["politeness"]["lanes"]["share"] > 0) == flips
    assert found["case"]["lanes"]["share"] == 0.0
    assert found["any"]["lanes"]["rows"] > found["case"]["lanes"]["rows"]


def test_a_change_that_alters_nothing_is_not_counted() -> None:
    found = judge_robustness(ByWords({}), POLICY, {"questions": ["附近有什么好玩的"]}, seed=1)
    assert found["en"] == {}
    assert "full width" not in found["zh"]


def test_the_probe_has_both_kinds_in_both_languages_and_no_seed_of_the_training() -> None:
    probes = read_probes()
    for kind, least in (("brief", 20), ("talk", 25)):
        for language in ("en", "zh"):
            assert sum((probe.kind, probe.language) == (kind, language) for probe in probes) >= least
    trained = {row.text for row in seed_rows(random.Random(1))}  # noqa: S311 - a reproducible draw, not a secret
    assert not trained & {probe.text for probe in probes}


def test_halves_have_no_text_in_common() -> None:
    one, other = halves(["a", "b", "c", "d", "e"])
    assert not set(one) & set(other)
    assert len(one) + len(other) == 5
