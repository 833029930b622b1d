"""Outcomes of the deployed pair as training rows: approved labels and collected answers, one JSON object per line.

``{"text": ..., "fast_score": 0..1 or null, "slow_score": 0..1 or null, "wanted_lane": "fast", "slow" or null}``; a row has a lane or both scores.
Other fields are for people. Exported rows (with a ``decision_id``) whose prompt was not kept, or that speak for no lane, are left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.training.rows import Known, Row, make_row
from tandem.errors import InvalidRequest
from tandem.schemas.routing import Lane
from tandem.schemas.text import CleanText

SOURCE: Final = "labels"
WEIGHT: Final = 3.0
"""Of a label of the deployed pair, where public rows weigh 1 on average: it says what others only stand for."""
LEAST_GAIN: Final = 0.5
"""The slow lane is wanted where its answers are right so much oftener than the fast one's."""


class LabelRow(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    text: CleanText | None = Field(min_length=1)
    decision_id: str | None = None
    fast_score: float | None = Field(default=None, ge=0.0, le=1.0)
    slow_score: float | None = Field(default=None, ge=0.0, le=1.0)
    wanted_lane: Lane | None = None


def read_labels(path: Path) -> list[Row]:
    """The rows of a file of labels. Raises ``InvalidRequest`` naming the line that is not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Labels {str(path)!r} cannot be read ({error}). Name a file of JSON lines in UTF-8.") from error
    rows = list(_rows(path, text))
    if not rows:
        raise InvalidRequest(
            f"No row of the labels {str(path)!r} has a text and a lane. Keep prompts with TANDEM_ROUTER_LOG_PROMPTS, or collect outcomes."
        )
    return rows


def row_of(label: LabelRow, text: str, group: object) -> Row:
    """A label as a training row: the wanted lane as stated, else as the scores say."""
    known = Known(fails=None if label.fast_score is None else 1 - label.fast_score, fixes=label.slow_score, gain=_gain(label))
    return make_row(text, _lane(label), SOURCE, group, known)


def _rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            label = LabelRow.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise _invalid(path, number, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
        if label.text is not None and _lane(label) is not None:
            yield row_of(label, label.text, number)
        elif label.decision_id is None:
            raise _invalid(path, number, "it has no text" if label.text is None else "it has neither a wanted_lane nor both scores")


def _gain(label: LabelRow) -> float | None:
    return None if label.fast_score is None or label.slow_score is None else label.slow_score - label.fast_score


def _lane(label: LabelRow) -> Lane | None:
    gain = _gain(label)
    if label.wanted_lane is not None or gain is None:
        return label.wanted_lane
    return "slow" if gain >= LEAST_GAIN else "fast"


def _invalid(path: Path, number: int, problem: str) -> InvalidRequest:
    return InvalidRequest(f"Labels {str(path)!r}, line {number}, is no label ({problem}). Correct or remove the line.")
