"""Typed questions as a client sends them and reads the answers, in both protocols. Pure.

Reading is lenient about fields nobody needs and strict about probabilities: what is missing, not finite, or does not belong to the question asked is
``ModelBadResponse``, because a wrong guess would be taken for a judgement.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tandem.errors import ModelBadResponse
from tandem.models.question_codecs import OUTCOMES, text_of
from tandem.schemas.base import JsonObject
from tandem.schemas.questions import AnswerSet, Option, Question, QuestionAnswer, QuestionSet

SUM_TOLERANCE: Final = 0.05
"""Probabilities that are rounded on the wire do not sum to 1 exactly; farther off they are no distribution."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Usage(_Lenient):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _SystemOneReply(_Lenient):
    model: str
    answers: dict[str, dict[str, JsonValue]]
    usage: _Usage = _Usage()


class _DecisionReply(_Lenient):
    model: str
    answers: list[dict[str, JsonValue]]
    usage: _Usage = _Usage()


_Reply = TypeVar("_Reply", _SystemOneReply, _DecisionReply)


def systemone_body(model: str, asked: QuestionSet) -> JsonObject:
    """``POST /v1/systemone``. Unnamed and repeated names travel under their numbers."""
    questions: JsonObject = {key: _systemone_question(question) for key, question in zip(_keys(asked), asked.questions, strict=True)}
    return {"model": model, "state": asked.state, "questions": questions}


def decisions_body(model: str, asked: QuestionSet) -> JsonObject:
    """``POST /v1/decisions``; a state that is no text goes as its JSON."""
    return {"model": model, "input": text_of(asked.state), "questions": [_decision_question(question) for question in asked.questions]}


def read_systemone_answers(asked: QuestionSet, data: bytes, calibration: str) -> AnswerSet:
    """The answers in the order of the questions; one that is missing was refused. Raises ``ModelBadResponse``."""
    reply = _read(_SystemOneReply, data)
    answers: list[QuestionAnswer] = []
    for key, question in zip(_keys(asked), asked.questions, strict=True):
        answer = reply.answers.get(key)
        answers.append(_refused(question) if answer is None else _answer(question, _systemone_probabilities(question, answer)))
    return _answered(reply.model, answers, reply.usage, calibration)


def read_decisions_answers(asked: QuestionSet, data: bytes, calibration: str) -> AnswerSet:
    """The answers in the order of the questions. Raises ``ModelBadResponse``."""
    reply = _read(_DecisionReply, data)
    if len(reply.answers) != len(asked.questions):
        raise ModelBadResponse(f"the decision model answered {len(reply.answers)} of {len(asked.questions)} questions")
    answers = [
        _refused(question) if answer.get("type") == "refusal" else _answer(question, _decision_probabilities(question, answer))
        for question, answer in zip(asked.questions, reply.answers, strict=True)
    ]
    return _answered(reply.model, answers, reply.usage, calibration)


def _keys(asked: QuestionSet) -> list[str]:
    names = [question.name for question in asked.questions]
    if all(names) and len(set(names)) == len(names):
        return [str(name) for name in names]
    return [f"q{at}" for at in range(len(names))]


def _option_keys(options: Sequence[Option]) -> list[str]:
    """Texts for options that may be booleans, each once."""
    texts = {option.value for option in options if isinstance(option.value, str)}
    keys: list[str] = []
    for option in options:
        key = option.value if isinstance(option.value, str) else str(option.value).lower()
        while not isinstance(option.value, str) and key in texts:
            key += " (boolean)"
        keys.append(key)
    return keys


def _systemone_question(question: Question) -> JsonObject:
    body: JsonObject = {"type": question.kind, "instructions": question.instructions}
    descriptions: list[JsonValue] = [option.description for option in question.options]
    if question.kind == "noul":
        meanings: JsonObject = {outcome: meaning for outcome, meaning in zip(OUTCOMES, descriptions, strict=False) if meaning is not None}
        if meanings:
            body["criteria"] = meanings
    elif question.kind == "choice":
        body["criteria"] = dict(zip(_option_keys(question.options), descriptions, strict=True))
    else:
        body["criteria"] = [_with_description(option) for option in question.options]
    return body


def _decision_question(question: Question) -> JsonObject:
    named: JsonObject = {} if question.name is None else {"name": question.name}
    if question.kind == "noul":
        meanings = [
            f"{outcome} means: {option.description}" for outcome, option in zip(OUTCOMES, question.options, strict=False) if option.description
        ]
        return {"type": "predicate", **named, "instructions": "\n".join([question.instructions, *meanings])}
    key, field = ("value", "choices") if question.kind == "choice" else ("label", "levels")
    options: list[JsonValue] = [
        {key: option.value} if option.description is None else {key: option.value, "description": option.description} for option in question.options
    ]
    return {"type": question.kind, **named, "instructions": question.instructions, field: options}


def _with_description(option: Option) -> str:
    return str(option.value) if option.description is None else f"{option.value}: {option.description}"


def _systemone_probabilities(question: Question, answer: Mapping[str, JsonValue]) -> list[JsonValue]:
    if question.kind == "noul":
        return _both(answer.get("noul"))
    told = answer.get("probabilities")
    if not isinstance(told, dict):
        return []
    keys = _option_keys(question.options) if question.kind == "choice" else [str(level) for level in range(len(question.options))]
    return [told.get(key) for key in keys]


def _decision_probabilities(question: Question, answer: Mapping[str, JsonValue]) -> list[JsonValue]:
    if question.kind == "noul":
        return _both(answer.get("probability"))
    told = answer.get("probabilities")
    pairs = [pair for pair in told if isinstance(pair, dict)] if isinstance(told, list) else []
    wanted: list[JsonValue] = [option.value for option in question.options] if question.kind == "choice" else list(range(len(question.options)))
    by_value = {(type(pair.get("value")), str(pair.get("value"))): pair.get("probability") for pair in pairs}
    return [by_value.get((type(value), str(value))) for value in wanted]


def _both(yes: JsonValue) -> list[JsonValue]:
    return [yes, 1 - yes] if isinstance(yes, int | float) else []


def _answer(question: Question, told: Sequence[JsonValue]) -> QuestionAnswer:
    probabilities = [float(value) for value in told if isinstance(value, int | float) and not isinstance(value, bool)]
    total = sum(probabilities)
    is_distribution = all(math.isfinite(value) and 0 <= value <= 1 for value in probabilities) and abs(total - 1) <= SUM_TOLERANCE
    if len(probabilities) != max(2, len(question.options)) or not is_distribution:
        raise ModelBadResponse(f"the decision model's answer to {question.name!r} has no probability for each option, or they do not sum to 1")
    return QuestionAnswer(name=question.name, kind=question.kind, probabilities=[value / total for value in probabilities])


def _refused(question: Question) -> QuestionAnswer:
    return QuestionAnswer(name=question.name, kind=question.kind, probabilities=[], is_refused=True)


def _answered(model: str, answers: list[QuestionAnswer], usage: _Usage, calibration: str) -> AnswerSet:
    tokens_in, tokens_out = max(0, usage.input_tokens or 0), max(0, usage.output_tokens or 0)
    return AnswerSet(model=model, calibration=calibration, answers=answers, input_tokens=tokens_in, output_tokens=tokens_out)


def _read(shape: type[_Reply], data: bytes) -> _Reply:
    try:
        return shape.model_validate_json(data)
    except ValidationError as error:
        raise ModelBadResponse(f"the decision model's answer is not of its protocol: {error.errors()[0]['msg']}; check its url and door") from None
