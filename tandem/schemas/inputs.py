"""What a job asks of people, and what people add to it unasked."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.text import CleanText

InputKind = Literal["approval", "choice", "text", "form"]
"""``approval`` is answered with a decision; ``choice`` with one of the choices; ``form`` with an object that its schema accepts."""


class InputAsk(Wire):
    """A question, as the worker puts it."""

    key: str = Field(min_length=1, max_length=200)
    """The worker's own name for the question; the answer comes back under it. Unique within the job."""
    kind: InputKind
    prompt: CleanText = Field(min_length=1, max_length=2_000)
    json_schema: JsonObject | None = Field(default=None, alias="schema")
    """Of a form's value, or of what an approval may be edited to: a flat JSON Schema object (MCP elicitation's subset)."""
    choices: list[CleanText] | None = Field(default=None, min_length=2, max_length=64)
    proposal: JsonValue = None
    """What is to be approved, or a suggested value."""
    default: JsonValue = None
    """Taken when nobody answers in time; null fails the job with ``input_expired`` then."""


class InputRequest(InputAsk):
    """A question, as the doors show it."""

    id: str
    object: Literal["input_request"] = "input_request"
    job_id: str
    status: Literal["pending", "answered", "expired", "withdrawn"] = "pending"
    """``withdrawn``: the job ended before anybody answered."""
    created_at: datetime
    expires_at: datetime
    answered_at: datetime | None = None
    answered_by: str | None = None
    """Id of the API key that answered; null while nobody has, or where a default was taken."""
    decision: Literal["approve", "reject", "edit"] | None = None
    """Of an approval."""
    value: JsonValue = None
    """The answer; of an edited approval, what it was edited to."""


class InputAnswer(Wire):
    """Body of ``POST /v1/jobs/{id}/inputs/{input_id}``: a decision for an approval, else a value."""

    decision: Literal["approve", "reject", "edit"] | None = None
    value: JsonValue = None


class InputPage(Wire):
    """All questions of a job, oldest first."""

    object: Literal["list"] = "list"
    data: list[InputRequest]


class SteerRequest(Wire):
    """Body of ``POST /v1/jobs/{id}/steer``."""

    message: CleanText = Field(min_length=1, max_length=8_000)


class Steer(Wire):
    """Words that somebody added to a job."""

    id: str
    object: Literal["steer"] = "steer"
    message: str
    created_at: datetime
    applied_at: datetime | None = None
    """When the worker took them up; null until then."""
    applied_step: str | None = None
    """What the worker was about to do when it took them up."""
