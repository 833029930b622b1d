"""What is known of a decision afterwards: feedback, escalations and scored answers, which become training labels after approval."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.routing import Lane
from tandem.schemas.text import CleanText

OutcomeKind = Literal["thumbs_up", "thumbs_down", "wrong_route", "reask", "escalated", "check_passed", "check_failed", "answer_scored"]
"""``reask``: the user asked the same again. ``escalated``: a user moved a fast answer to the slow lane. ``answer_scored``: both lanes answered and
were scored."""
OutcomeSource = Literal["user", "gateway", "collect", "operator"]
LabelStatus = Literal["pending", "approved", "rejected"]


class FeedbackCreate(Wire):
    """Body of ``POST /v1/feedback``."""

    decision_id: str = Field(min_length=1, max_length=64)
    """As in the header ``X-Tandem-Decision`` or beside a message."""
    kind: Literal["thumbs_up", "thumbs_down", "wrong_route", "escalated"]
    lane: Lane | None = None
    """With ``wrong_route``: the lane it should have had; the other one where nothing is said."""
    comment: CleanText = Field(default="", max_length=2_000)


class Outcome(Wire):
    """One thing learnt of one decision."""

    id: str
    decision_id: str
    kind: OutcomeKind
    source: OutcomeSource
    status: LabelStatus
    """Only approved ones are trained on."""
    wanted_lane: Lane | None
    """The lane it speaks for, if any."""
    fast_score: float | None = Field(default=None, ge=0.0, le=1.0)
    """Of ``answer_scored``: share of the fast lane's answers that were right."""
    slow_score: float | None = Field(default=None, ge=0.0, le=1.0)
    text: str | None = None
    """The prompt, redacted; only where prompts are logged, and for collected rows, whose prompts are not a user's."""
    comment: str = ""
    created_at: datetime


class OutcomePage(Wire):
    """A page of outcomes, newest first."""

    object: Literal["list"] = "list"
    data: list[Outcome]
    next_after: str | None = None
    """Pass it as ``after`` to read on; null at the end."""


class Feedback(Wire):
    """Answer of ``POST /v1/feedback``: what is kept now, in place of earlier feedback of the same kind."""

    object: Literal["feedback"] = "feedback"
    decision_id: str
    kind: Literal["thumbs_up", "thumbs_down", "wrong_route", "escalated"]
    wanted_lane: Lane | None


class LabelVerdict(Wire):
    """Body of ``POST /v1/router/labels/{id}``."""

    status: Literal["approved", "rejected"]
    wanted_lane: Lane | None = None
    """Corrects the lane."""


class OutcomeImport(Wire):
    """One row of ``POST /v1/router/labels``: an answer scored elsewhere, as ``tandem router collect`` does."""

    text: CleanText = Field(min_length=1)
    fast_score: float = Field(ge=0.0, le=1.0)
    slow_score: float = Field(ge=0.0, le=1.0)
    comment: CleanText = Field(default="", max_length=2_000)


class OutcomeImports(Wire):
    """Body of ``POST /v1/router/labels``. The same text sent again replaces its scores."""

    rows: list[OutcomeImport] = Field(min_length=1, max_length=1_000)


class Imported(Wire):
    """Answer of ``POST /v1/router/labels``: what was kept, waiting for approval."""

    object: Literal["list"] = "list"
    decision_ids: list[str]
    """One per row, made from its text."""
