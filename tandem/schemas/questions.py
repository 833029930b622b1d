"""Typed questions about a state, answered with probabilities: one internal form behind ``/v1/systemone`` and ``/v1/decisions``."""

from typing import Literal, cast

from pydantic import BeforeValidator, Field, JsonValue

from tandem.schemas.base import Wire
from tandem.schemas.text import check_text

QuestionKind = Literal["noul", "choice", "score"]
"""Yes or no (``predicate`` in OpenAI's words), one of a set, or a place on a scale."""
MIN_OPTIONS = 2
MAX_OPTIONS = 255
MAX_LEVELS = 10
MAX_QUESTIONS = 400
"""What OpenAI's decisions take in one request."""


def _check_texts(value: object) -> object:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            _check_texts(key)
            _check_texts(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            _check_texts(item)
    return cast("object", value)


CleanTexts = BeforeValidator(_check_texts)
"""Every text inside a JSON value, names too, is well-formed Unicode without NUL."""


class Option(Wire):
    """One answer a question allows: of a choice, or a level of a score (lowest first)."""

    value: str | bool
    """Of a choice: what comes back, a string or a boolean, never turned into one another. Of a level: its label."""
    description: str | None = None


class Question(Wire):
    """One typed question."""

    name: str | None = None
    """Comes back with the answer; names need not differ."""
    kind: QuestionKind
    instructions: str
    options: list[Option] = Field(default_factory=list[Option], max_length=MAX_OPTIONS)
    """Of a noul: none, or what true and false mean, in this order."""


class QuestionSet(Wire):
    """What is asked in one go."""

    state: JsonValue
    """A text, or any JSON, about which is asked."""
    questions: list[Question] = Field(min_length=1, max_length=MAX_QUESTIONS)


class QuestionAnswer(Wire):
    """Probabilities in the order of the options; of a noul of (true, false)."""

    name: str | None
    kind: QuestionKind
    probabilities: list[float]
    """Sum 1; empty of a refusal."""
    is_refused: bool = False
    """The model put its probability on none of the options, or declined."""


class AnswerSet(Wire):
    """All answers, in the order of the questions."""

    model: str
    """Who answered."""
    calibration: str
    """Version of the calibration; ``none`` for raw probabilities."""
    answers: list[QuestionAnswer]
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    left_out_chars: int = Field(default=0, ge=0)
    """Characters out of the middle of the state that were not read, because it is longer than the model takes."""
