"""One labelled training row, and the project's own seed rows expanded from templates."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import BaseModel, TypeAdapter

from router.text import read_text
from tandem.schemas.routing import Lane

Label: TypeAlias = int
"""1 for the slow lane, 0 for the fast one."""

_FOLDER: Final = Path(__file__).parent
_SLOT: Final = re.compile(r"\{(\w+)\}")
SEED_VARIANTS: Final = 8
"""Expansions of a template with slots."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and the lane it deserves."""

    text: str
    label: Label
    language: str
    source: str
    group: str
    """Rows of a group never stand on both sides of a split."""


class _Seed(BaseModel):
    lane: Lane
    text: str


_SLOTS: Final = TypeAdapter(dict[str, list[str]])


def make_row(text: str, lane: Lane, source: str, group: object) -> Row:
    """A row; its language is the one serving would detect."""
    return Row(text=text, label=int(lane == "slow"), language=read_text(text).language, source=source, group=f"{source}:{group}")


def seed_rows(randomness: random.Random) -> Iterator[Row]:
    """The hand-written bilingual templates, each with some fillings."""
    slots = _SLOTS.validate_json((_FOLDER / "slots.json").read_bytes())
    for index, line in enumerate((_FOLDER / "seeds.jsonl").read_text(encoding="utf-8").splitlines()):
        seed = _Seed.model_validate(json.loads(line))
        fillings = {_fill(seed.text, slots, randomness) for _ in range(SEED_VARIANTS)} if _SLOT.search(seed.text) else {seed.text}
        for text in sorted(fillings):
            yield make_row(text, seed.lane, "seeds", index)


def _fill(template: str, slots: Mapping[str, Sequence[str]], randomness: random.Random) -> str:
    """Replace the slots, also those inside a filling."""
    text = template
    while (slot := _SLOT.search(text)) is not None:
        text = text[: slot.start()] + randomness.choice(slots[slot.group(1)]) + text[slot.end() :]
    return text
