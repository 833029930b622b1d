"""Answers sets of typed questions with the decision model that is configured, else with the fast model read out. Knows no protocol."""

from collections.abc import Mapping
from typing import Final

from fast_model.readout import ReadoutModel
from fast_model.readout_calibration import load_calibration
from gateway.errors import shown
from gateway.limits import InFlight
from router.backends import QuestionScorer, load_scorer_calibration
from tandem.errors import InputTooLong, ModelError, UnknownModel
from tandem.models import served_name
from tandem.models.decision_model import DecisionEndpoint, RemoteDecisionModel
from tandem.models.question_codecs import text_of
from tandem.ports import ChatModel, DecisionModel, Scorer
from tandem.schemas.questions import AnswerSet, QuestionSet
from tandem.schemas.routing import ScoringBackend
from tandem.settings import Settings
from tandem.telemetry import get_logger

READOUT_SHARE: Final = 2
"""One of this many slots of the fast server is used for questions at once, at least one: the others stay with streams."""
_log = get_logger(__name__)


def open_readout(settings: Settings, fast: ChatModel) -> ReadoutModel:
    """The fast model as a decision model. Raises ``SettingsInvalid`` when its calibration is damaged."""
    section = settings.fast
    calibration = load_calibration(served_name(settings, "fast"))
    concurrency = max(1, section.slots // READOUT_SHARE)
    return ReadoutModel(fast, calibration, context_tokens=section.context_tokens, concurrency=concurrency, timeout_s=section.read_timeout_s)


def open_decision_model(settings: Settings) -> RemoteDecisionModel | None:
    """The configured decision model, if any; connects at the first question."""
    router = settings.router
    if router.decision_model_url is None:
        return None
    key = router.decision_model_api_key
    return RemoteDecisionModel(
        DecisionEndpoint(
            url=router.decision_model_url,
            model=router.decision_model,
            door=router.decision_model_door,
            api_key=key.get_secret_value() if key else None,
        )
    )


def open_scorers(readout: DecisionModel, decision_model: DecisionModel | None) -> Mapping[ScoringBackend, Scorer]:
    """The router's backends that ask a model, each with its calibration. Raises ``RouterArtifactInvalid`` when one is damaged."""
    scorers: dict[ScoringBackend, Scorer] = {"readout": QuestionScorer(readout, load_scorer_calibration(readout.name))}
    if decision_model is not None:
        scorers["decision_model"] = QuestionScorer(decision_model, load_scorer_calibration(decision_model.name), asks_more=True)
    return scorers


class QuestionDesk:
    """What the doors of typed questions share.

    Args:
        readout: Answers where no decision model is configured.
        decision_model: Answers everything where it is.
        in_flight: The process's limit, shared with chat.
        max_chars: Longest state, and longest text of all questions together.
    """

    def __init__(self, readout: DecisionModel, decision_model: RemoteDecisionModel | None, in_flight: InFlight, max_chars: int) -> None:
        self.backend: ScoringBackend = "readout" if decision_model is None else "decision_model"
        self._model: DecisionModel = decision_model or readout
        self._remote = decision_model
        self._in_flight = in_flight
        self._max_chars = max_chars

    @property
    def served(self) -> tuple[str, ...]:
        """What a request may name as ``model``."""
        return tuple(dict.fromkeys(("auto", "fast", self._model.name) if self.backend == "readout" else ("auto", self._model.name)))

    def check_model(self, model: str) -> None:
        """Raises ``UnknownModel`` for any other name."""
        if model not in self.served:
            reason = f"model {shown(model)} does not answer typed questions here"
            raise UnknownModel(f"{reason}; use one of {', '.join(self.served)}", param="model")

    async def answer(self, asked: QuestionSet, state_field: str) -> AnswerSet:
        """Raises ``InputTooLong``, ``TooManyRequests``, ``ModelError``; ``state_field`` is the state's name in the caller's protocol."""
        self._check_length(len(text_of(asked.state)), state_field)
        options = [option for question in asked.questions for option in question.options]
        texts = (*(question.instructions for question in asked.questions), *(f"{option.value}{option.description or ''}" for option in options))
        self._check_length(sum(map(len, texts)), "questions")
        with self._in_flight.slot():
            return await self._model.answer(asked)

    async def probe(self) -> None:
        """Say in the log whether the configured decision model answers; without one there is nothing to ask."""
        if self._remote is None:
            return
        try:
            _log.info("decision_model_answers", model=await self._remote.check())
        except ModelError as error:
            _log.warning("decision_model_does_not_answer", model=self._remote.name, code=error.code, reason=error.message)

    def _check_length(self, chars: int, param: str) -> None:
        if chars > self._max_chars:
            raise InputTooLong(f"'{param}' has {chars:,} characters, {self._max_chars:,} are allowed; shorten it", param=param)
