"""``python -m bench.router``: what one decision costs in process, by length and language, and what the artefact costs to load.

Nothing else should run on the machine; the table is for comparison within one run.
"""

import gc
import resource
import statistics
import sys
import time
from itertools import cycle, islice

from router.artifacts import load_classifier
from router.policy import decide, default_policy
from tandem.ports import Classifier, Turns
from tandem.settings import RouterSettings

ROUNDS = 2_000
WARM_UP = 200

CHAT = {
    "en": ["what is the capital of France?", "thanks, that helped a lot", "can you move my meeting with Ravi to 3 pm tomorrow?", "hi"],
    "zh": ["今天天气怎么样", "谢谢，很有帮助", "帮我把明天下午三点的会议改到四点可以吗？", "你好"],
}
PASSAGE = {
    "en": "The committee compared 12 proposals, asked for a plan within 30 days, and wants to know how the budget of $4,000 was spent. ",
    "zh": "委员会比较了12个方案，要求在30天内给出计划，并想知道4000元的预算是怎样花掉的。",
}


def run() -> None:
    """Measure and print."""
    before_kb, started = _rss_kb(), time.perf_counter()
    classifier = load_classifier()
    load_ms = (time.perf_counter() - started) * 1_000
    print(f"load {load_ms:.1f} ms, resident memory +{(_rss_kb() - before_kb) / 1_024:.1f} MB, artefact {classifier.version}")
    print(f"{'text':<10} {'lang':<5} {'p50 us':>8} {'p99 us':>8} {'max us':>8}")
    for name, chars in (("chat", 0), ("200", 200), ("2k", 2_000), ("4k", 4_000), ("100k", 100_000)):
        for language in ("en", "zh"):
            texts = CHAT[language] if chars == 0 else [_passage(language, chars, shift) for shift in range(4)]
            micros = _measure(texts, classifier)
            print(f"{name:<10} {language:<5} {statistics.median(micros):>8.0f} {micros[len(micros) * 99 // 100]:>8.0f} {micros[-1]:>8.0f}")


def _measure(texts: list[str], classifier: Classifier) -> list[float]:
    """Microseconds of CPU per decision, ascending."""
    policy = default_policy(RouterSettings())
    turns = [Turns(text=text) for text in texts]
    for one in islice(cycle(turns), WARM_UP):
        decide(one, classifier, policy)
    gc.collect()
    return sorted(decide(one, classifier, policy).latency_us for one in islice(cycle(turns), ROUNDS))


def _passage(language: str, chars: int, shift: int) -> str:
    passage = PASSAGE[language]
    return (passage[shift:] + passage * (chars // len(passage) + 1))[:chars]


def _rss_kb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1_024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    run()
