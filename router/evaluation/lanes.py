"""Whether research briefs go slow and small talk stays fast, in both languages alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np

from router.evaluation.material import Probe
from router.evaluation.outcomes import Peers, peer_scores
from router.policy import Policy, decide
from router.text import read_text
from router.training.metrics import Share, share_of
from router.training.protocol import Floats
from tandem.ports import Classifier, Turns

EQUAL_SHARES: Final = (0.05, 0.10, 0.20)
"""Slow shares of a language's everyday traffic at which the languages are compared."""


class EqualShare(TypedDict):
    """Recall of the briefs where each language sends the same share of its everyday traffic slow."""

    share: float
    en: Share
    zh: Share
    gap: float
    """English minus Chinese, in points."""


class LaneFigures(TypedDict):
    """The briefs of one set against everyday traffic."""

    recall: dict[str, Share]
    """Briefs sent slow, per language, under the policy."""
    noticed: dict[str, Share]
    """Briefs sent slow or checked."""
    equal: list[EqualShare]


class Lanes(TypedDict):
    """All of this chapter."""

    briefs: dict[str, LaneFigures]
    """Per set of briefs."""
    peers: dict[str, dict[str, dict[str, Share]]]
    """Per set of briefs, other router and language: briefs that it sends to more than its cheapest tier."""
    peers_talk: dict[str, dict[str, Share]]
    """Per other router and language: small talk that it sends to more than its cheapest tier."""
    talk: dict[str, Share]
    """Small talk sent slow, per language."""
    missed: list[str]
    """The probe's briefs that were neither sent slow nor checked."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is sent through the router."""

    probes: Sequence[Probe]
    public: Sequence[str]
    """Briefs of the data folder."""
    everyday: Mapping[str, Sequence[str]]
    """Per language, prompts that should stay fast."""


def judge_lanes(classifier: Classifier, policy: Policy, prompts: Prompts, peers: Peers) -> Lanes:
    """Under the policy, and at equal slow shares."""
    ordinary = {language: _p_slow(classifier, texts) for language, texts in prompts.everyday.items()}
    own = [probe.text for probe in prompts.probes if probe.kind == "brief"]
    sets = {"own probe, never trained on": own, "Deep Research Bench half": list(prompts.public)}
    talk = {language: [probe.text for probe in prompts.probes if (probe.kind, probe.language) == ("talk", language)] for language in ordinary}
    return Lanes(
        briefs={name: _figures(classifier, policy, texts, ordinary) for name, texts in sets.items()},
        peers={name: _of_peers(peers, _by_language(texts, ordinary)) for name, texts in sets.items()},
        peers_talk=_of_peers(peers, talk),
        talk={language: _share(classifier, policy, texts, {"slow"}) for language, texts in talk.items()},
        missed=[text for text in own if decide(Turns(text=text), classifier, policy).band == "fast"],
    )


def _figures(classifier: Classifier, policy: Policy, briefs: Sequence[str], ordinary: Mapping[str, Floats]) -> LaneFigures:
    own = _by_language(briefs, ordinary)
    scores = {language: _p_slow(classifier, texts) for language, texts in own.items()}
    return LaneFigures(
        recall={language: _share(classifier, policy, texts, {"slow"}) for language, texts in own.items()},
        noticed={language: _share(classifier, policy, texts, {"slow", "check"}) for language, texts in own.items()},
        equal=[_at_equal_share(share, scores, ordinary) for share in EQUAL_SHARES if len(scores) == len(ordinary)],
    )


def _by_language(texts: Sequence[str], languages: Iterable[str]) -> dict[str, list[str]]:
    """Languages without a text are left out."""
    found = {language: [text for text in texts if read_text(text).language == language] for language in languages}
    return {language: some for language, some in found.items() if some}


def _of_peers(peers: Peers, texts: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Share]]:
    """Share above the cheapest tier, of routers that scored every text."""
    found: dict[str, dict[str, Share]] = {}
    for language, some in texts.items():
        for name, words in peer_scores(peers, some).items():
            found.setdefault(name, {})[language] = share_of(np.array([word.tier > 0 for word in words]))
    return found


def _at_equal_share(share: float, scores: Mapping[str, Floats], ordinary: Mapping[str, Floats]) -> EqualShare:
    recalls = {language: share_of(scores[language] >= np.quantile(ordinary[language], 1 - share)) for language in ("en", "zh")}
    gap = 100 * (recalls["en"]["share"] - recalls["zh"]["share"])
    return EqualShare(share=share, en=recalls["en"], zh=recalls["zh"], gap=round(gap, 1))


def _share(classifier: Classifier, policy: Policy, texts: Sequence[str], bands: set[str]) -> Share:
    return share_of(np.array([decide(Turns(text=text), classifier, policy).band in bands for text in texts]))


def _p_slow(classifier: Classifier, texts: Sequence[str]) -> Floats:
    return np.array([classifier.score(Turns(text=text)).p_slow for text in texts])
