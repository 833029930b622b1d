"""The two wire protocols of typed questions and the internal form, one into the other. Pure; knows no model, no server and no HTTP.

``/v1/systemone`` names questions by the keys of an object and knows texts as options only; ``/v1/decisions`` lists them, their names are optional and
need not differ, and options may be booleans. Names, order and types survive the way in and out, because the answer is written from the request.
"""

import json
from collections.abc import Sequence
from typing import Final, TypeVar, assert_never, cast

from pydantic import JsonValue

from tandem.errors import InvalidRequest
from tandem.schemas.base import JsonObject
from tandem.schemas.decisions import (
    DecisionChoiceAnswer,
    DecisionChoiceProbability,
    DecisionItem,
    DecisionLevelProbability,
    DecisionPart,
    DecisionPredicateAnswer,
    DecisionQuestion,
    DecisionRefusal,
    DecisionReply,
    DecisionRequest,
    DecisionScoreAnswer,
    DecisionUsage,
)
from tandem.schemas.questions import MAX_LEVELS, MAX_OPTIONS, MIN_OPTIONS, AnswerSet, Option, Question, QuestionAnswer, QuestionSet
from tandem.schemas.systemone import (
    Content,
    SystemOneChoice,
    SystemOneNoul,
    SystemOneQuestion,
    SystemOneReply,
    SystemOneRequest,
    SystemOneScore,
    SystemOneUsage,
)

_Found = TypeVar("_Found")
OUTCOMES: Final = ("true", "false")
"""Keys of a noul's criteria, in the order of its probabilities."""


def read_systemone(request: SystemOneRequest) -> QuestionSet:
    """The questions of a System One request, in its order. Raises ``InvalidRequest`` naming the field (``questions.lane.criteria``)."""
    questions = [_systemone_question(name, question) for name, question in request.questions.items()]
    return QuestionSet(state=request.state, questions=questions)


def write_systemone(request: SystemOneRequest, answered: AnswerSet) -> SystemOneReply:
    """The answer to the request it was read from."""
    answers: dict[str, SystemOneNoul | SystemOneChoice | SystemOneScore] = {}
    for (name, question), answer in zip(request.questions.items(), answered.answers, strict=True):
        if not answer.is_refused:
            answers[name] = _systemone_answer(question, answer.probabilities)
    usage = SystemOneUsage(input_tokens=answered.input_tokens, output_tokens=answered.output_tokens)
    return SystemOneReply(model=answered.model, answers=answers, usage=usage)


def read_decisions(request: DecisionRequest) -> QuestionSet:
    """The questions of a decisions request, in its order. Raises ``InvalidRequest`` naming the field (``questions.0.choices``)."""
    questions = [_decision_question(f"questions.{at}", question) for at, question in enumerate(request.questions)]
    return QuestionSet(state=_state(request.input), questions=questions)


def write_decisions(request: DecisionRequest, answered: AnswerSet) -> DecisionReply:
    """The answer to the request it was read from."""
    usage = DecisionUsage(
        input_tokens=answered.input_tokens, output_tokens=answered.output_tokens, total_tokens=answered.input_tokens + answered.output_tokens
    )
    answers = [_decision_answer(question, answer) for question, answer in zip(request.questions, answered.answers, strict=True)]
    return DecisionReply(model=answered.model, answers=answers, usage=usage)


def expected_level(probabilities: Sequence[float]) -> float:
    """A score: the mean of the levels' numbers."""
    return sum(level * probability for level, probability in enumerate(probabilities))


def choice_confidence(probabilities: Sequence[float]) -> float:
    """How far the likeliest option stands above an even distribution, 0..1; TypeSafe's formula, so that thresholds can be carried over."""
    even = 1 / len(probabilities)
    return min(1.0, max(0.0, (max(probabilities) - even) / (1 - even)))


def score_confidence(probabilities: Sequence[float]) -> float:
    """How near the levels stand to the likeliest one, 0..1, measured against an even distribution around its middle; TypeSafe's formula."""
    levels = range(len(probabilities))
    likeliest = max(levels, key=probabilities.__getitem__)
    distance = sum(probabilities[level] * abs(level - likeliest) for level in levels)
    even = sum(abs(level - (len(levels) - 1) / 2) for level in levels) / len(levels)
    return min(1.0, max(0.0, 1 - distance / even))


def text_of(content: JsonValue) -> str:
    """A text as it is, other JSON as compact JSON."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _systemone_question(name: str, question: SystemOneQuestion) -> Question:
    where = f"questions.{name}"
    options = _systemone_options(question, f"{where}.criteria")
    return Question(name=name, kind=question.type, instructions=_asked(text_of(question.instructions), f"{where}.instructions"), options=options)


def _systemone_options(question: SystemOneQuestion, param: str) -> list[Option]:
    criteria = question.criteria
    match question.type:
        case "noul":
            return _outcomes(criteria, param)
        case "choice":
            if not isinstance(criteria, dict):
                raise InvalidRequest(
                    f"'{param}' of a choice must be an object of option and description (or null); got {_kind(criteria)}", param=param
                )
            _check_count(len(criteria), MAX_OPTIONS, "options", param)
            return [Option(value=value, description=None if meaning is None else text_of(meaning)) for value, meaning in criteria.items()]
        case "score":
            if not isinstance(criteria, list):
                raise InvalidRequest(f"'{param}' of a score must be a list of levels, lowest first; got {_kind(criteria)}", param=param)
            _check_count(len(criteria), MAX_LEVELS, "levels", param)
            return [Option(value=text_of(level)) for level in criteria]
        case _:
            assert_never(question.type)


def _outcomes(criteria: dict[str, Content | None] | list[Content] | None, param: str) -> list[Option]:
    """What true and false mean; none where neither is said."""
    if criteria is None:
        return []
    if not isinstance(criteria, dict) or not criteria.keys() <= set(OUTCOMES):
        raise InvalidRequest(f"'{param}' of a noul may hold 'true' and 'false' and nothing else; leave it out, or describe these two", param=param)
    meanings = [criteria.get(outcome) for outcome in OUTCOMES]
    if all(meaning is None for meaning in meanings):
        return []
    pairs = zip((True, False), meanings, strict=True)
    return [Option(value=value, description=None if meaning is None else text_of(meaning)) for value, meaning in pairs]


def _systemone_answer(question: SystemOneQuestion, probabilities: Sequence[float]) -> SystemOneNoul | SystemOneChoice | SystemOneScore:
    match question.type:
        case "noul":
            return SystemOneNoul(noul=probabilities[0])
        case "choice":
            by_option = dict(zip(cast("dict[str, Content | None]", question.criteria), probabilities, strict=True))
            likeliest = max(by_option, key=by_option.__getitem__)
            return SystemOneChoice(choice=likeliest, probabilities=by_option, confidence=choice_confidence(probabilities))
        case "score":
            return SystemOneScore(
                score=expected_level(probabilities),
                legend={str(level): meaning for level, meaning in enumerate(cast("list[Content]", question.criteria))},
                probabilities={str(level): probability for level, probability in enumerate(probabilities)},
                confidence=score_confidence(probabilities),
            )
        case _:
            assert_never(question.type)


def _decision_question(where: str, question: DecisionQuestion) -> Question:
    for field, owner in (("choices", "choice"), ("levels", "score")):
        if getattr(question, field) is not None and question.type != owner:
            raise InvalidRequest(
                f"'{where}.{field}' belongs to a {owner}, and the question is a {question.type}; remove it", param=f"{where}.{field}"
            )
    instructions = _asked(_parts_text(question.instructions, f"{where}.instructions"), f"{where}.instructions")
    match question.type:
        case "predicate":
            return Question(name=question.name, kind="noul", instructions=instructions)
        case "choice":
            choices = question.choices or []
            _check_count(len(choices), MAX_OPTIONS, "choices", f"{where}.choices")
            _check_unique([choice.value for choice in choices], f"{where}.choices")
            options = [Option(value=choice.value, description=choice.description) for choice in choices]
            return Question(name=question.name, kind="choice", instructions=instructions, options=options)
        case "score":
            levels = question.levels or []
            _check_count(len(levels), MAX_LEVELS, "levels", f"{where}.levels")
            options = [Option(value=level.label, description=level.description) for level in levels]
            return Question(name=question.name, kind="score", instructions=instructions, options=options)
        case _:
            assert_never(question.type)


def _decision_answer(
    question: DecisionQuestion, answer: QuestionAnswer
) -> DecisionPredicateAnswer | DecisionChoiceAnswer | DecisionScoreAnswer | DecisionRefusal:
    name, probabilities = question.name, answer.probabilities
    if answer.is_refused:
        return DecisionRefusal(name=name)
    match question.type:
        case "predicate":
            return DecisionPredicateAnswer(name=name, probability=probabilities[0])
        case "choice":
            pairs = list(zip(question.choices or [], probabilities, strict=True))
            likeliest, _ = max(pairs, key=lambda pair: pair[1])
            listed = [DecisionChoiceProbability(value=choice.value, probability=probability) for choice, probability in pairs]
            return DecisionChoiceAnswer(name=name, choice=likeliest.value, probabilities=listed, confidence=choice_confidence(probabilities))
        case "score":
            levels = enumerate(zip(question.levels or [], probabilities, strict=True))
            rated = [DecisionLevelProbability(value=at, label=level.label, probability=probability) for at, (level, probability) in levels]
            score, confidence = expected_level(probabilities), score_confidence(probabilities)
            return DecisionScoreAnswer(name=name, score=score, probabilities=rated, confidence=confidence)
        case _:
            assert_never(question.type)


def _state(given: str | list[DecisionItem]) -> JsonValue:
    """A text alone stays one; a conversation keeps its roles and tools."""
    if isinstance(given, str):
        return given
    if not given:
        raise InvalidRequest("'input' is an empty list; send a text or at least one message", param="input")
    items: list[JsonObject] = []
    calls: set[str] = set()
    for at, item in enumerate(given):
        items.append(_item(item, f"input.{at}", calls))
    only = items[0]
    return only["content"] if len(items) == 1 and only.get("role") == "user" else list[JsonValue](items)


def _item(item: DecisionItem, where: str, calls: set[str]) -> JsonObject:
    """One message, call or output as the model is shown it; ``calls`` gathers the ids seen."""
    match item.type:
        case "message":
            if item.role is None:
                raise InvalidRequest(f"'{where}.role' is missing; a message has one of user, developer, system, assistant", param=f"{where}.role")
            return {"role": item.role, "content": _parts_text(_required(item.content, f"{where}.content"), f"{where}.content")}
        case "function_call" | "custom_tool_call":
            calls.add(_required(item.call_id, f"{where}.call_id"))
            field, said = ("arguments", item.arguments) if item.type == "function_call" else ("input", item.input)
            return {"tool": _required(item.name, f"{where}.name"), field: _required(said, f"{where}.{field}")}
        case "function_call_output" | "custom_tool_call_output":
            call_id = _required(item.call_id, f"{where}.call_id")
            if call_id not in calls:
                raise InvalidRequest(f"'{where}.call_id' is {call_id[:80]!r}, and no call before it has this id", param=f"{where}.call_id")
            return {"tool_output": _parts_text(_required(item.output, f"{where}.output"), f"{where}.output")}
        case _:
            assert_never(item.type)


def _parts_text(given: str | list[DecisionPart], where: str) -> str:
    if isinstance(given, str):
        return given
    return "\n".join(_part_text(part, f"{where}.{at}") for at, part in enumerate(given))


def _part_text(part: DecisionPart, where: str) -> str:
    match part.type:
        case "input_text" | "output_text":
            return _required(part.text, f"{where}.text")
        case "refusal":
            return _required(part.refusal, f"{where}.refusal")
        case "input_json":
            return text_of(cast("JsonValue", _required(part.data, f"{where}.data")))
        case "input_image":
            raise InvalidRequest(f"'{where}' is an image, and the model here reads text only; describe it in words", param=where)
        case _:
            assert_never(part.type)


def _required(value: _Found | None, param: str) -> _Found:
    if value is None:
        raise InvalidRequest(f"'{param}' is missing", param=param)
    return value


def _asked(instructions: str, param: str) -> str:
    if not instructions.strip():
        raise InvalidRequest(f"'{param}' is empty; say what is asked", param=param)
    return instructions


def _check_count(count: int, most: int, what: str, param: str) -> None:
    if not MIN_OPTIONS <= count <= most:
        raise InvalidRequest(f"'{param}' has {count} {what}; {MIN_OPTIONS} to {most} are allowed", param=param)


def _check_unique(values: Sequence[str | bool], param: str) -> None:
    seen: set[tuple[type, str | bool]] = set()
    for value in values:
        if (type(value), value) in seen:
            raise InvalidRequest(f"'{param}' has the value {str(value)[:80]!r} twice; name each choice once", param=param)
        seen.add((type(value), value))


def _kind(value: object) -> str:
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "nothing"
