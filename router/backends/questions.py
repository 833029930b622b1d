"""Asks a decision model, or the fast model read out, whether the fast lane will do, and turns its word into the router's ``Score``.

Knows no server, no timeout and no policy: whoever calls bounds the time and falls back on the linear classifier.
"""

import math
from collections.abc import Mapping
from typing import Final

from router.backends.calibration import RAW, ScorerCalibration
from router.calibration import sigmoid
from router.text import HEAD_CHARS, TAIL_CHARS, read_text
from tandem.errors import ModelBadResponse, ModelUnavailable
from tandem.ports import DecisionModel, Score, Turns
from tandem.schemas.questions import AnswerSet, Option, Question, QuestionAnswer, QuestionSet
from tandem.schemas.routing import Intent

SUFFICES: Final = "fast_answer_suffices"
TOOLS: Final = "needs_tools"
INTENT: Final = "intent"
LEAST_P: Final = 1e-6
"""Probabilities are kept this far from 0 and 1, so that their log-odds are finite."""

_SUFFICES: Final[Mapping[str, Question]] = {
    "en": Question(
        name=SUFFICES,
        kind="noul",
        instructions="Is this request simple?",
        options=[
            Option(value=True, description="it is small talk, a short command or a simple question"),
            Option(value=False, description="it is hard work: it needs calculation, code, research or several steps"),
        ],
    ),
    "zh": Question(
        name=SUFFICES,
        kind="noul",
        instructions="这个请求是否简单？",
        options=[
            Option(value=True, description="只是闲聊、简短指令或简单问题"),
            Option(value=False, description="需要计算、编程、调研或多个步骤"),
        ],
    ),
}
_TOOLS: Final = Question(
    name=TOOLS, kind="noul", instructions="Does the task need tools: a search, a program that is run, a file or another service?"
)
_INTENTS: Final[Mapping[Intent, str]] = {
    "chat": "small talk or a command to an assistant",
    "question": "a question of fact",
    "writing": "text to write or to change",
    "math": "something to calculate or prove",
    "code": "a program",
    "planning": "a plan or a comparison",
    "research": "a research brief",
    "tools": "a task of several tool calls",
}
_INTENT: Final = Question(
    name=INTENT,
    kind="choice",
    instructions="What kind of request is this?",
    options=[Option(value=intent, description=meaning) for intent, meaning in _INTENTS.items()],
)


class QuestionScorer:
    """Implements ``ports.Scorer``.

    Args:
        model: Who is asked; it is closed with the scorer.
        calibration: From its probability to P(slow).
        asks_more: Also ask for tools and intent: free of a decision model, two more prompts of a chat model.
    """

    def __init__(self, model: DecisionModel, calibration: ScorerCalibration, *, asks_more: bool = False) -> None:
        self._model = model
        self._calibration = calibration
        self._maps = calibration.maps()
        self._more = [_TOOLS, _INTENT] if asks_more else []

    @property
    def version(self) -> str:
        """``<model>/<calibration>``."""
        return f"{self._model.name}/{self._calibration.version}"

    async def score(self, turns: Turns) -> Score:
        """P(slow) from the probability that the fast answer suffices. Raises ``ModelError``."""
        language = read_text(turns.text).language
        answered = await self._model.answer(
            QuestionSet(state=_ends(turns.text), questions=[_SUFFICES["zh" if language == "zh" else "en"], *self._more])
        )
        self._check(answered)
        suffices = _yes(answered.answers[0])
        if suffices is None:
            raise ModelBadResponse(f"{self._model.name!r} did not say whether the fast lane will do")
        log_odds = self._maps.map_for(language).log_odds(doubt(suffices))
        more = {answer.name: answer for answer in answered.answers[1:]}
        return Score(
            p_slow=sigmoid(log_odds),
            contributions=((SUFFICES, log_odds),),
            p_tools=_yes(more[TOOLS]) if TOOLS in more else None,
            intent=_intent(more[INTENT]) if INTENT in more else None,
        )

    async def close(self) -> None:
        await self._model.close()

    def _check(self, answered: AnswerSet) -> None:
        wanted = self._calibration.answers_calibration
        if self._calibration.version != RAW and answered.calibration != wanted:
            raise ModelUnavailable(
                f"the calibration {self._calibration.version!r} was fitted to answers calibrated by {wanted!r}, "
                f"and {self._model.name!r} answers by {answered.calibration!r}; fit it again with `python -m router.evaluation.backends`"
            )


def doubt(suffices: float) -> float:
    """Log-odds that the fast answer does not suffice: what the calibration maps."""
    p = min(max(suffices, LEAST_P), 1 - LEAST_P)
    return math.log((1 - p) / p)


def suffices_question(language: str) -> Question:
    """The question on which the calibration is fitted."""
    return _SUFFICES["zh" if language == "zh" else "en"]


def _ends(text: str) -> str:
    """Head and tail, as the linear classifier reads them: a model reads no more, and in bounded time."""
    return text if len(text) <= HEAD_CHARS + TAIL_CHARS else f"{text[:HEAD_CHARS]}\n[…]\n{text[-TAIL_CHARS:]}"


def _yes(answer: QuestionAnswer) -> float | None:
    return None if answer.is_refused else answer.probabilities[0]


def _intent(answer: QuestionAnswer) -> Intent | None:
    if answer.is_refused:
        return None
    names = tuple(_INTENTS)
    return names[answer.probabilities.index(max(answer.probabilities))]
