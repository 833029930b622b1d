"""``python -m bench.router``: what one decision costs in process, by length and language, and what the artefact costs to load.

LiteLLM's two local auto-routers decide on the same texts where its environment is installed (``bench.gateway`` installs it) or ``--litellm PYTHON``
names one; theirs is CPU time of the classification alone, ours of the whole decision. ``tandem router score`` is timed as a program, its start
included. Nothing else should run on the machine; the table is for comparison within one run.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from bench.rig import litellm_routers
from bench.rig.installed import ROOT, PeerMissing
from router.artifacts import load_classifier
from router.policy import decide, default_policy
from tandem.ports import Classifier, Turns
from tandem.settings import RouterSettings

ROUNDS = 2_000
PEER_ROUNDS = 400
WARM_UP = 200
SCORED_LINES = 5_000
LENGTHS = {"chat": 0, "200": 200, "900": 900, "2k": 2_000, "4k": 4_000, "100k": 100_000}
PEER_CHARS = 4_000
"""LiteLLM's routers read a text whole; of longer ones each takes tens of milliseconds."""

CHAT = {
    "en": ["what is the capital of France?", "thanks, that helped a lot", "can you move my meeting with Ravi to 3 pm tomorrow?", "hi"],
    "zh": ["今天天气怎么样", "谢谢，很有帮助", "帮我把明天下午三点的会议改到四点可以吗？", "你好"],
}
PASSAGE = {
    "en": "The committee compared 12 proposals, asked for a plan within 30 days, and wants to know how the budget of $4,000 was spent. ",
    "zh": "委员会比较了12个方案，要求在30天内给出计划，并想知道4000元的预算是怎样花掉的。",
}
Case = tuple[str, str]
"""Name of a length, language."""


class Micros(NamedTuple):
    """Of many decisions, in microseconds."""

    p50: float
    p99: float
    most: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.router", description=__doc__)
    parser.add_argument("--litellm", type=Path, help="a Python that has LiteLLM; else the environment that bench.gateway installs, if it is there")
    options = parser.parse_args(arguments)
    before_kb, started = _rss_kb(), time.perf_counter()
    classifier = load_classifier()
    load_ms = (time.perf_counter() - started) * 1_000
    print(f"load {load_ms:.1f} ms, resident memory +{(_rss_kb() - before_kb) / 1_024:.1f} MB, artefact {classifier.version}")
    texts = {(name, language): _texts(language, chars) for name, chars in LENGTHS.items() for language in ("en", "zh")}
    ours = {case: _measure([Turns(text=text) for text in some], classifier) for case, some in texts.items()}
    for language in ("en", "zh"):
        chat = CHAT[language]
        conversation = [Turns(text=text, history=[*chat, *chat][:6], previous_lane="fast") for text in chat]
        ours["chat, 6 turns", language] = _measure(conversation, classifier)
    _show(ours, _peers(texts, options.litellm))
    lines, seconds, cpu = _score_file()
    print(
        f"tandem router score: {lines / seconds:.0f} lines/s, {lines / cpu:.0f} per second of CPU, start included ({lines} lines in {seconds:.1f} s)"
    )
    return 0


def _texts(language: str, chars: int) -> list[str]:
    return CHAT[language] if chars == 0 else [_passage(language, chars, shift) for shift in range(4)]


def _measure(turns: Sequence[Turns], classifier: Classifier) -> Micros:
    policy = default_policy(RouterSettings())
    for one in islice(cycle(turns), WARM_UP):
        decide(one, classifier, policy)
    gc.collect()
    return _micros([decide(one, classifier, policy).latency_us for one in islice(cycle(turns), ROUNDS)])


def _peers(texts: Mapping[Case, Sequence[str]], python: Path | None) -> dict[str, dict[Case, Micros]]:
    """Of each of LiteLLM's routers; nothing where it is not installed."""
    found: dict[str, dict[Case, Micros]] = {}
    if python is None and not litellm_routers.PYTHON.exists():
        print("LiteLLM is not installed here; `python -m bench gateway` installs it, --litellm names another")
        return found
    for case, some in texts.items():
        if LENGTHS[case[0]] <= PEER_CHARS:
            try:
                rows = litellm_routers.score(islice(cycle(some), WARM_UP + PEER_ROUNDS), python)[WARM_UP:]
            except PeerMissing as missing:
                print(f"LiteLLM is left out: {missing}")
                return {}
            for name in rows[0].keys() - {"key"}:
                found.setdefault(name, {})[case] = _micros([row[name]["us"] for row in rows])
    return found


def _show(ours: Mapping[Case, Micros], peers: Mapping[str, Mapping[Case, Micros]]) -> None:
    names = sorted(peers)
    print(f"{'text':<14} {'lang':<5} {'p50 us':>8} {'p99 us':>8} {'max us':>8}" + "".join(f" {name + ' p50':>15} {'ratio':>6}" for name in names))
    for case, micros in ours.items():
        beside = [peers[name].get(case) for name in names]
        columns = "".join(f" {peer.p50:>15.0f} {peer.p50 / micros.p50:>6.1f}" if peer is not None else f" {'':>22}" for peer in beside)
        print(f"{case[0]:<14} {case[1]:<5} {micros.p50:>8.0f} {micros.p99:>8.0f} {micros.most:>8.0f}{columns}")


def _score_file() -> tuple[int, float, float]:
    """Lines, seconds and CPU seconds of scoring a file of prompts of all the lengths below 4k."""
    some = [text for name, chars in LENGTHS.items() if name != "100k" for language in ("en", "zh") for text in _texts(language, chars)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.jsonl"
        path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in islice(cycle(some), SCORED_LINES)), encoding="utf-8")
        command = [sys.executable, "-m", "router", "score", str(path), "--out", str(Path(folder) / "decisions.jsonl")]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "TANDEM_HOME": folder})
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return SCORED_LINES, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _micros(values: Sequence[float]) -> Micros:
    ascending = sorted(values)
    return Micros(statistics.median(ascending), ascending[len(ascending) * 99 // 100], ascending[-1])


def _passage(language: str, chars: int, shift: int) -> str:
    passage = PASSAGE[language]
    return (passage[shift:] + passage * (chars // len(passage) + 1))[:chars]


def _rss_kb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1_024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
