"""Typed questions about a state, answered with probabilities: one internal form behind ``/v1/systemone`` and ``/v1/decisions``."""

from typing import Literal

from pydantic import Field, JsonValue

from tandem.schemas.base import Wire

QuestionKind = Literal["noul", "choice", "score"]
"""Yes or no (``predicate`` in OpenAI's words), one of a set, or a place on a scale."""
MAX_OPTIONS = 255
MAX_LEVELS = 10


class Option(Wire):
    """One answer a question allows: of a choice, or a level of a score (lowest first)."""

    value: str | bool
    """Of a choice: what comes back, a string or a boolean, never turned into one another. Of a level: its label."""
    description: str | None = None


class Question(Wire):
    """One typed question."""

    name: str = Field(min_length=1)
    kind: QuestionKind
    instructions: str
    options: list[Option] = Field(default_factory=list[Option], max_length=MAX_OPTIONS)
    """Of a noul: none, or what true and false mean, in this order."""


class QuestionSet(Wire):
    """What is asked in one go."""

    state: JsonValue
    """A text, or any JSON, about which is asked."""
    questions: list[Question] = Field(min_length=1)


class QuestionAnswer(Wire):
    """Probabilities in the order of the options; of a noul of (true, false)."""

    name: str
    kind: QuestionKind
    probabilities: list[float]
    """Sum 1."""
    is_refused: bool = False


class AnswerSet(Wire):
    """All answers, in the order of the questions."""

    model: str
    """Who answered."""
    calibration: str
    """Version of the calibration; ``none`` for raw probabilities."""
    answers: list[QuestionAnswer]
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
