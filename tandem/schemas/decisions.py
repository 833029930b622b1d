"""OpenAI's decisions protocol, ``POST /v1/decisions``: a list of typed questions about a text or a conversation.

Parts and items are flat here, one class for all their types, so that a fault is named by its own field and not once per member of a union.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, StrictStr

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.questions import MAX_QUESTIONS, CleanTexts
from tandem.schemas.text import CleanText

ChoiceValue = StrictStr | StrictBool
"""A string and a boolean of the same text are two values."""


class DecisionPart(Wire):
    """A piece of a message or of a question's instructions. Images are refused: the models here read text."""

    type: Literal["input_text", "output_text", "refusal", "input_json", "input_image"]
    text: str | None = None
    """Of ``input_text`` and ``output_text``."""
    refusal: str | None = None
    data: JsonObject | list[JsonObject] | None = None
    """Of ``input_json``."""
    image_url: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: JsonValue = None
    """Taken and not needed."""


class DecisionItem(Wire):
    """A message, a call of a tool, or what a tool brought."""

    type: Literal["message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"] = "message"
    role: Literal["user", "developer", "system", "assistant"] | None = None
    """Of a message."""
    content: str | list[DecisionPart] | None = None
    """Of a message."""
    call_id: str | None = None
    """Of a call and of its output, which must follow it."""
    name: str | None = None
    """Of a call."""
    arguments: str | None = None
    """Of a ``function_call``."""
    input: str | None = None
    """Of a ``custom_tool_call``."""
    output: str | list[DecisionPart] | None = None
    id: str | None = None
    """Taken and not needed, like the next three."""
    namespace: str | None = None
    phase: str | None = None
    status: str | None = None


class DecisionChoice(Wire):
    """One option of a ``choice``."""

    value: ChoiceValue
    description: str | None = None


class DecisionLevel(Wire):
    """One level of a ``score``."""

    label: str
    description: str | None = None


class DecisionQuestion(Wire):
    """One typed question."""

    type: Literal["predicate", "choice", "score"]
    name: str | None = None
    """Comes back with the answer."""
    instructions: str | list[DecisionPart]
    choices: list[DecisionChoice] | None = None
    """Of a ``choice``: 2 to 255, each value once."""
    levels: list[DecisionLevel] | None = None
    """Of a ``score``: 2 to 10, lowest first."""


class DecisionRequest(Wire):
    """Body of ``POST /v1/decisions``."""

    model: CleanText
    """``auto``, ``fast``, or the name of the model that answers here."""
    input: Annotated[str | list[DecisionItem], CleanTexts]
    """What is asked about."""
    questions: Annotated[list[DecisionQuestion], CleanTexts] = Field(min_length=1, max_length=MAX_QUESTIONS)
    prompt_cache_key: str | None = None
    """Taken and not needed, like the next two."""
    prompt_cache_options: JsonValue = None
    safety_identifier: str | None = None


class DecisionPredicateAnswer(Wire):
    """P(the statement is true)."""

    type: Literal["predicate"] = "predicate"
    name: str | None
    probability: float


class DecisionChoiceProbability(Wire):
    """One option's."""

    value: ChoiceValue
    probability: float


class DecisionChoiceAnswer(Wire):
    """One of a set."""

    type: Literal["choice"] = "choice"
    name: str | None
    choice: ChoiceValue
    """The likeliest."""
    probabilities: list[DecisionChoiceProbability]
    """In the order of the choices; sum 1."""
    confidence: float
    """How concentrated the probabilities are, 0..1; not P(correct)."""


class DecisionLevelProbability(Wire):
    """One level's."""

    value: int
    """Its number, from 0."""
    label: str
    probability: float


class DecisionScoreAnswer(Wire):
    """A place on a scale."""

    type: Literal["score"] = "score"
    name: str | None
    score: float
    """Mean of the levels' numbers, weighted by their probabilities."""
    probabilities: list[DecisionLevelProbability]
    confidence: float
    """How concentrated the probabilities are around the likeliest level, 0..1."""


class DecisionRefusal(Wire):
    """The model gave no answer to this question."""

    type: Literal["refusal"] = "refusal"
    name: str | None


class DecisionInputTokens(Wire):
    """Nothing of the input is billed apart."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class DecisionOutputTokens(Wire):
    """There is no reasoning."""

    reasoning_tokens: int = 0


class DecisionUsage(Wire):
    """Tokens of all questions together."""

    input_tokens: int
    input_tokens_details: DecisionInputTokens = DecisionInputTokens()
    output_tokens: int
    output_tokens_details: DecisionOutputTokens = DecisionOutputTokens()
    total_tokens: int


class DecisionReply(Wire):
    """Answer of ``POST /v1/decisions``."""

    model: str
    """Who answered."""
    answers: list[DecisionPredicateAnswer | DecisionChoiceAnswer | DecisionScoreAnswer | DecisionRefusal]
    """In the order of the questions."""
    usage: DecisionUsage
