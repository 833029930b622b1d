"""Asks a decision model, or the fast model read out, whether a request needs careful work, and turns its word into the router's ``Score``.

Knows no server, no timeout and no policy: whoever calls bounds the time and falls back on the linear classifier.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from router.backends.calibration import RAW, ScorerCalibration
from router.calibration import sigmoid
from router.text import HEAD_CHARS, TAIL_CHARS, read_text
from tandem.errors import ModelBadResponse, ModelUnavailable
from tandem.ports import DecisionModel, Score, Turns
from tandem.schemas.questions import AnswerSet, Option, Question, QuestionAnswer, QuestionSet
from tandem.schemas.routing import Intent

Frame = Literal["en", "zh"]

CAREFUL: Final = "needs_careful_work"
TOOLS: Final = "needs_tools"
INTENT: Final = "intent"
LEAST_P: Final = 1e-6
"""Probabilities are kept this far from 0 and 1, so that their log-odds are finite."""

_CAREFUL: Final[Mapping[Frame, Question]] = {
    # "Yes" is the hard case on purpose: a 0.5B model leans on an option's place, and asked "Is it simple?" it ranked worse than chance (docs)
    "en": Question(
        name=CAREFUL,
        kind="noul",
        instructions="Does this request need careful work?",
        options=[
            Option(value=True, description="it needs calculation, code, research or several steps"),
            Option(value=False, description="it is small talk, a short command or a simple question"),
        ],
    ),
    "zh": Question(
        name=CAREFUL,
        kind="noul",
        instructions="这个请求是否需要仔细处理？",
        options=[
            Option(value=True, description="需要计算、编程、调研或多个步骤"),
            Option(value=False, description="只是闲聊、简短指令或简单问题"),
        ],
    ),
}
_TOOLS: Final = Question(
    name=TOOLS, kind="noul", instructions="Does the task need tools: a search, a program that is run, a file or another service?"
)
INTENTS: Final[Mapping[Intent, str]] = {
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
    options=[Option(value=intent, description=meaning) for intent, meaning in INTENTS.items()],
)


class QuestionScorer:
    """Implements ``ports.Scorer``.

    Args:
        model: Who is asked; it is closed with the scorer.
        calibration: From its probability to P(needs the slow lane).
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
        """P(slow) from the probability that the request needs careful work. Raises ``ModelError``."""
        answered = await self._model.answer(ask_of(turns.text, self._more))
        self._check(answered)
        if answered.answers[0].is_refused:
            raise ModelBadResponse(f"{self._model.name!r} did not say whether the request needs careful work")
        log_odds = self._maps.map_for(read_text(turns.text).language).log_odds(log_odds_of(answered.answers[0]))
        more = {answer.name: answer for answer in answered.answers[1:]}
        return Score(
            p_slow=sigmoid(log_odds),
            contributions=((CAREFUL, log_odds),),
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


def ask_of(text: str, more: Sequence[Question] = ()) -> QuestionSet:
    """What is asked about a message; its words are in the message's language."""
    language = read_text(text).language
    return QuestionSet(state=_ends(text), questions=[_CAREFUL["zh" if language == "zh" else "en"], *more])


def log_odds_of(answer: QuestionAnswer) -> float:
    """Log-odds that the request needs careful work: what the calibration maps."""
    p = min(max(answer.probabilities[0], LEAST_P), 1 - LEAST_P)
    return math.log(p / (1 - p))


def _ends(text: str) -> str:
    """Head and tail, as the linear classifier reads them: a model reads no more, and in bounded time."""
    return text if len(text) <= HEAD_CHARS + TAIL_CHARS else f"{text[:HEAD_CHARS]}\n[…]\n{text[-TAIL_CHARS:]}"


def _yes(answer: QuestionAnswer) -> float | None:
    return None if answer.is_refused else answer.probabilities[0]


def _intent(answer: QuestionAnswer) -> Intent | None:
    if answer.is_refused:
        return None
    names = tuple(INTENTS)
    return names[answer.probabilities.index(max(answer.probabilities))]
