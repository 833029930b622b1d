"""The System One protocol, ``POST /v1/systemone``: named questions about a state, as TypeSafe's API defined it and open servers speak it."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.questions import MAX_QUESTIONS, CleanTexts, QuestionKind
from tandem.schemas.text import CleanText

Content = str | JsonObject | list[JsonValue]
"""A text, or JSON that is shown to the model as it is."""


class SystemOneQuestion(Wire):
    """One typed question; its name is the key it stands under."""

    type: QuestionKind
    instructions: Content
    criteria: dict[str, Content | None] | list[Content] | None = None
    """Of a ``choice``: each option with what it means, or null. Of a ``score``: the levels, lowest first. Of a ``noul``: what ``true`` and ``false``
    mean, or nothing."""


class SystemOneRequest(Wire):
    """Body of ``POST /v1/systemone``."""

    model: CleanText
    """``auto``, ``fast``, or the name of the model that answers here."""
    state: Annotated[Content, CleanTexts]
    """What is asked about."""
    questions: Annotated[dict[str, SystemOneQuestion], CleanTexts] = Field(min_length=1, max_length=MAX_QUESTIONS)


class SystemOneNoul(Wire):
    """A yes/no answer."""

    type: Literal["noul"] = "noul"
    noul: float
    """P(yes), 0..1; there is no ``confidence``, since this says it all."""


class SystemOneChoice(Wire):
    """One of a set."""

    type: Literal["choice"] = "choice"
    choice: str
    """The likeliest option."""
    probabilities: dict[str, float]
    """Of every option, in the order of ``criteria``; sum 1."""
    confidence: float
    """How concentrated the probabilities are, 0 (all alike) to 1 (one has it all); not P(correct)."""


class SystemOneScore(Wire):
    """A place on a scale."""

    type: Literal["score"] = "score"
    score: float
    """Mean of the levels' numbers (from 0), weighted by their probabilities."""
    legend: dict[str, Content]
    """What the numbers mean."""
    probabilities: dict[str, float]
    """Of every level, by its number; sum 1."""
    confidence: float
    """How concentrated the probabilities are around the likeliest level, 0..1."""


class SystemOneUsage(Wire):
    """Tokens of all questions together."""

    input_tokens: int
    output_tokens: int


class SystemOneReply(Wire):
    """Answer of ``POST /v1/systemone``."""

    model: str
    """Who answered."""
    answers: dict[str, SystemOneNoul | SystemOneChoice | SystemOneScore]
    """By the questions' names, in their order. A question the model could not answer is missing: the protocol has no word for a refusal."""
    usage: SystemOneUsage
