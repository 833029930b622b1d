"""Runs inside LiteLLM's environment: reads JSON lines with ``prompt`` and ``key``, scores each by its two local auto-routers, writes JSON lines.

v1 is the keyword score (higher: harder). v2 has no single score: 1 - P(tier 1 succeeds) of its success table is what it decides by, so that ranks.
``tier`` is 0 for the cheapest of four. ``us`` is CPU time of one call, without parsing.
"""

import json
import sys
import time
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

ROUTER = "litellm.router_strategy.complexity_router.complexity_router"  # imported by name: only the peer's environment has it
TIERS = ("SIMPLE", "MEDIUM", "COMPLEX", "REASONING")


def build(kind: str) -> Any:
    # The router asks its owner only for model names, which play no part in scoring.
    config = {"classifier_type": kind, "tiers": {tier: tier.lower() for tier in TIERS}}
    return import_module(ROUTER).ComplexityRouter("auto", MagicMock(), config, derive_savings_baseline=False)


def run() -> None:
    routers = {"litellm_v1": build("heuristic"), "litellm_v2": build("heuristic_v2")}
    for line in sys.stdin:
        record = json.loads(line)
        row: dict[str, object] = {"key": record["key"]}
        for name, router in routers.items():
            started = time.thread_time_ns()
            outcome = router._classify_locally(record["prompt"], None)  # noqa: SLF001 - what its own entry point calls without a model
            micros = (time.thread_time_ns() - started) / 1_000
            forecast = outcome.heuristic_v2_forecast
            score = outcome.score if forecast is None else 1 - forecast["probabilities"]["SIMPLE"]
            row[name] = {"score": score, "tier": TIERS.index(outcome.tier.value), "us": round(micros, 1)}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    run()
