"""Reads questions that two models answered, with who was right: RouteLLM's halves, and other routers' scores of the same prompts.

Knows nothing of measures.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ValidationError

from router.training.predictions import prompt_key
from router.training.protocol import Floats, Outcomes
from tandem.errors import InvalidRequest

SETS: Final = {"gsm8k": "routellm_gsm8k_dev", "mmlu": "routellm_mmlu_dev"}


@dataclass(frozen=True, slots=True)
class OutcomeSet:
    """Prompts and what both models made of them."""

    name: str
    prompts: Sequence[str]
    outcomes: Outcomes
    subjects: Sequence[str] | None
    """Of each prompt, where the set has them."""


class PeerScore(BaseModel):
    """Another router's word on a prompt."""

    score: float
    """Higher: harder, on any scale."""
    tier: int
    """0 is its cheapest."""
    us: float
    """CPU time in microseconds."""


Peers = Mapping[str, Mapping[str, PeerScore]]
"""Per key of a prompt, per router."""


class _OutcomeRow(BaseModel):
    prompt: str
    weak: float
    strong: float
    subject: str | None = None


def read_outcome_sets(data: Path) -> list[OutcomeSet]:
    """The sets of a data folder. Raises ``InvalidRequest`` where one is missing or malformed."""
    sets: list[OutcomeSet] = []
    for name, file in SETS.items():
        rows = [_parse(line, file, number) for number, line in enumerate(read_lines(data / "routing" / f"{file}.jsonl"), 1)]
        subjects = [row.subject or "" for row in rows]
        outcomes = Outcomes(np.array([row.weak for row in rows]), np.array([row.strong for row in rows]))
        sets.append(OutcomeSet(name, [row.prompt for row in rows], outcomes, subjects if any(subjects) else None))
    return sets


def read_peers(path: Path) -> Peers:
    """Scores written by ``python -m bench.rig.litellm_routers``."""
    peers: dict[str, Mapping[str, PeerScore]] = {}
    for number, line in enumerate(read_lines(path), 1):
        try:
            record = json.loads(line)
            key = str(record.pop("key"))
            peers[key] = {name: PeerScore.model_validate(value) for name, value in record.items()}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InvalidRequest(f"{str(path)!r} line {number} is not a row of peers' scores ({error}); write the file anew.") from error
    return peers


def peer_scores(peers: Peers, prompts: Sequence[str]) -> dict[str, list[PeerScore]]:
    """Each router's words on all prompts; a router that misses one is left out."""
    none: Mapping[str, PeerScore] = {}
    found = [peers.get(prompt_key(prompt), none) for prompt in prompts]
    names = [name for name in found[0] if all(name in each for each in found)] if found else []
    return {name: [each[name] for each in found] for name in names}


def read_lines(path: Path) -> list[str]:
    """Lines of a file that are not blank. Raises ``InvalidRequest`` where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{str(path)!r} cannot be read ({error}); name a folder or file that holds it.") from error
    return [line for line in text.split("\n") if line.strip()]


def quality_gain(outcomes: Outcomes) -> Floats:
    """What the strong model adds, -1..1 (rows,)."""
    return outcomes.strong - outcomes.weak


def _parse(line: str, file: str, number: int) -> _OutcomeRow:
    try:
        return _OutcomeRow.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise InvalidRequest(f"{file!r} line {number}: {'.'.join(map(str, problem['loc']))} {problem['msg']}") from error
