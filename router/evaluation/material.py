"""Prompts without labels, by kind of traffic, for measures that compare decisions with decisions. Read from the data folder, never shipped."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

from pydantic import BaseModel

from router.evaluation.outcomes import read_lines
from tandem.errors import InvalidRequest

PROBES: Final = Path(__file__).with_name("probes.jsonl")
"""Written for this project's evaluation and never trained on: research briefs and small talk, English and Chinese."""


class _File(NamedTuple):
    path: str
    field: str


FILES: Final[Mapping[str, _File]] = {
    "assistant (en)": _File("routing/clinc150_train.jsonl", "text"),
    "support (en)": _File("routing/banking77_train.jsonl", "text"),
    "task dialogue (zh)": _File("routing/crosswoz_zh.jsonl", "text"),
    "instructions (zh)": _File("routing/belle_zh_eval_set.jsonl", "question"),
    "knowledge (en)": _File("routing/routellm_mmlu_dev.jsonl", "prompt"),
    "word problems (en)": _File("routing/routellm_gsm8k_dev.jsonl", "prompt"),
    "word problems (zh)": _File("reasoning/cmath_dev.jsonl", "input"),
    "tools (en)": _File("routing/bfcl_user_turns.jsonl", "user_turns"),
    "hard questions": _File("routing/arena_hard_v2_question.jsonl", "prompt"),
    "research briefs": _File("routing/deep_research_briefs_dev.jsonl", "prompt"),
}
"""Kinds of traffic, and where they stand; of ``user_turns`` the first is taken."""


class Probe(BaseModel):
    """One line of the held-out probe."""

    kind: str
    """``brief`` or ``talk``."""
    language: str
    text: str


def read_probes() -> list[Probe]:
    """The project's own held-out lines."""
    return [Probe.model_validate_json(line) for line in read_lines(PROBES)]


def read_material(data: Path) -> dict[str, list[str]]:
    """Distinct prompts of each kind, in an order that depends on nothing but their words."""
    return {kind: sorted({_text(line, file) for line in read_lines(data / file.path)} - {""}, key=_spread) for kind, file in FILES.items()}


def halves(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Two disjoint halves; texts of ``read_material`` are in a spread order already."""
    return list(texts[::2]), list(texts[1::2])


def _text(line: str, file: _File) -> str:
    try:
        value: object = json.loads(line)[file.field]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"a line of {file.path!r} has no {file.field!r} ({error!r}); is this the data folder?") from error
    if isinstance(value, list):
        turns = cast(list[object], value)
        return str(turns[0]) if turns else ""
    return str(value)


def _spread(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
