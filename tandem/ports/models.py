"""Models, and the router's scoring backends."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tandem.schemas.chat import ChatDelta, ChatReply, ChatRequest
from tandem.schemas.questions import AnswerSet, QuestionSet
from tandem.schemas.routing import Effort, Intent, Lane, LaneChoice


class ChatModel(Protocol):
    """A model server, spoken to in whole replies or in pieces."""

    @property
    def name(self) -> str: ...

    async def complete(self, request: ChatRequest) -> ChatReply:
        """One whole reply. Cancelling the call closes the upstream request.

        Raises:
            ModelError: Unavailable, too slow, off-protocol, or the prompt does not fit.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        """The reply in pieces; closing the generator closes the upstream request. Raises like ``complete``, also mid-stream."""
        ...

    async def check(self) -> str:
        """Name of the model that answers; a cheap probe. Raises like ``complete``."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Turns:
    """What the router may know of a conversation: the newest message and what came before it."""

    text: str
    """The newest human message."""
    history: Sequence[str] = ()
    """Earlier human messages, oldest first."""
    previous_lane: Lane | None = None
    choice: LaneChoice = "auto"
    """The lane the caller forces, or ``auto``."""
    chosen_by: Literal["lane", "model"] = "lane"
    """Which field of the request forces it."""
    effort: Effort | None = None
    """The effort the caller asks for."""
    has_running_job: bool = False
    """A job of this conversation has not ended."""


@dataclass(frozen=True, slots=True)
class Score:
    """A classifier's word on one request."""

    p_slow: float
    """P(needs the slow lane), calibrated, 0..1."""
    contributions: Sequence[tuple[str, float]]
    """Largest log-odds contributions, at most five."""
    p_fast_fails: float | None = None
    p_slow_fixes: float | None = None
    p_tools: float | None = None
    intent: Intent | None = None
    demand: float | None = None
    """How much a slow answer has to do, 0 upwards; from 1 on worth high effort. None from a backend that does not say."""


class Classifier(Protocol):
    """A scoring backend of the router that answers at once, in this process."""

    @property
    def version(self) -> str: ...

    def score(self, turns: Turns) -> Score: ...


class Scorer(Protocol):
    """A scoring backend of the router that asks a model."""

    @property
    def version(self) -> str:
        """Of the model and its calibration."""
        ...

    async def score(self, turns: Turns) -> Score:
        """Raises ``ModelError``; the caller bounds the time and falls back on the ``Classifier``."""
        ...

    async def close(self) -> None: ...


class DecisionModel(Protocol):
    """Answers typed questions with probabilities: a decision model, or a chat model whose next-token probabilities are read out."""

    @property
    def name(self) -> str: ...

    async def answer(self, asked: QuestionSet) -> AnswerSet:
        """One answer per question, in order. Raises ``ModelError``; ``ModelUnavailable`` also where the server has no such door (404, 501)."""
        ...

    async def close(self) -> None: ...
