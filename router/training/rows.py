"""One training row with what is known of it, and the project's own seed rows expanded from templates."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import BaseModel, TypeAdapter

from router.text import read_text
from tandem.schemas.routing import Intent, Lane

Label: TypeAlias = int
"""1 for the slow lane, 0 for the fast one."""

_FOLDER: Final = Path(__file__).parent
_SLOT: Final = re.compile(r"\{(\w+)\}")
SEED_VARIANTS: Final = 8
"""Expansions of a template with slots."""
_NEEDS_TOOLS: Final = frozenset[Intent]({"research", "tools"})
_NEEDS_NONE: Final = frozenset[Intent]({"writing", "math", "code"})
_UNSCORED: Final = frozenset[Intent]({"math", "code"})
"""Small models solve some of these; what they fail at is learnt from outcomes."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a prompt beside its lane; None where nothing is."""

    intent: Intent | None = None
    fails: float | None = None
    """Share of weak models that fail, 0..1."""
    fixes: float | None = None
    """Share of strong models that succeed, 0..1."""
    tools: int | None = None
    """1 if it needs tools."""
    gain: float | None = None
    """Quality of the strong model less that of the weak one, -1..1: a row of the gain heads."""
    subject: str = ""
    """Of a row with a gain: its noise is averaged over the subject."""


NOTHING: Final = Known()


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and the lane it deserves."""

    text: str
    label: Label | None
    """None where only outcomes are known, or nothing of the lane."""
    language: str
    source: str
    group: str
    """Rows of a group never stand on both sides of a split."""
    known: Known = NOTHING
    is_copy: bool = False
    """A perturbed copy: trained on, never judged by."""


class _Seed(BaseModel):
    lane: Lane
    intent: Intent
    text: str


_SLOTS: Final = TypeAdapter(dict[str, list[str]])


def make_row(text: str, lane: Lane | None, source: str, group: object, known: Known = NOTHING) -> Row:
    """A row; its language is the one serving would detect."""
    label = None if lane is None else int(lane == "slow")
    return Row(text=text, label=label, language=read_text(text).language, source=source, group=f"{source}:{group}", known=known)


def copy_of(row: Row, text: str) -> Row:
    """The row with a changed wording."""
    return replace(row, text=text, is_copy=True)


def seed_rows(randomness: random.Random) -> Iterator[Row]:
    """The hand-written bilingual templates, each with some fillings."""
    slots = _SLOTS.validate_json((_FOLDER / "slots.json").read_bytes())
    for index, line in enumerate((_FOLDER / "seeds.jsonl").read_text(encoding="utf-8").splitlines()):
        seed = _Seed.model_validate(json.loads(line))
        fillings = {_fill(seed.text, slots, randomness) for _ in range(SEED_VARIANTS)} if _SLOT.search(seed.text) else {seed.text}
        for text in sorted(fillings):
            yield make_row(text, seed.lane, "seeds", index, _known(seed))


def _known(seed: _Seed) -> Known:
    return Known(
        intent=seed.intent,
        fails=None if seed.intent in _UNSCORED else float(seed.lane == "slow"),
        tools=1 if seed.intent in _NEEDS_TOOLS else 0 if seed.intent in _NEEDS_NONE else None,
    )


def _fill(template: str, slots: Mapping[str, Sequence[str]], randomness: random.Random) -> str:
    """Replace the slots, also those inside a filling."""
    text = template
    while (slot := _SLOT.search(text)) is not None:
        text = text[: slot.start()] + randomness.choice(slots[slot.group(1)]) + text[slot.end() :]
    return text
