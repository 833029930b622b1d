import pytest
from pydantic import JsonValue, ValidationError

from tandem.errors import InvalidRequest
from tandem.models.question_codecs import (
    choice_confidence,
    read_decisions,
    read_systemone,
    score_confidence,
    write_decisions,
    write_systemone,
)
from tandem.schemas.base import JsonObject
from tandem.schemas.decisions import DecisionRequest
from tandem.schemas.questions import MAX_OPTIONS, AnswerSet, Option, QuestionAnswer, QuestionSet
from tandem.schemas.systemone import SystemOneRequest

LANE: JsonObject = {"type": "choice", "instructions": "Which lane?", "criteria": {"slow": "hard work", "fast": None}}


def systemone(**questions: JsonValue) -> SystemOneRequest:
    return SystemOneRequest.model_validate({"model": "fast", "state": "Hi", "questions": questions})


def decisions(*questions: JsonValue, said: JsonValue = "Hi") -> DecisionRequest:
    return DecisionRequest.model_validate({"model": "fast", "input": said, "questions": list(questions)})


def answers(asked: QuestionSet, *probabilities: list[float]) -> AnswerSet:
    pairs = zip(asked.questions, probabilities, strict=True)
    told = [QuestionAnswer(name=question.name, kind=question.kind, probabilities=each, is_refused=not each) for question, each in pairs]
    return AnswerSet(model="m", calibration="none", answers=told, input_tokens=7, output_tokens=2)


def test_systemone_questions_keep_their_names_order_and_options() -> None:
    asked = read_systemone(systemone(zebra={"type": "noul", "instructions": "?"}, lane=LANE, ape={"type": "noul", "instructions": "!"}))
    assert [question.name for question in asked.questions] == ["zebra", "lane", "ape"]
    assert asked.questions[1].options == [Option(value="slow", description="hard work"), Option(value="fast")]


def test_a_systemone_answer_has_the_shape_of_its_question() -> None:
    request = systemone(
        is_urgent={"type": "noul", "instructions": "?", "criteria": {"false": "can wait"}},
        lane=LANE,
        effort={"type": "score", "instructions": "?", "criteria": ["none", {"label": "some"}, "much"]},
    )
    reply = write_systemone(request, answers(read_systemone(request), [0.8, 0.2], [0.25, 0.75], [0.2, 0.5, 0.3]))
    assert reply.model_dump() == {
        "model": "m",
        "answers": {
            "is_urgent": {"type": "noul", "noul": 0.8},
            "lane": {"type": "choice", "choice": "fast", "probabilities": {"slow": 0.25, "fast": 0.75}, "confidence": 0.5},
            "effort": {
                "type": "score",
                "score": pytest.approx(1.1),
                "legend": {"0": "none", "1": {"label": "some"}, "2": "much"},
                "probabilities": {"0": 0.2, "1": 0.5, "2": 0.3},
                "confidence": pytest.approx(0.25),
            },
        },
        "usage": {"input_tokens": 7, "output_tokens": 2},
    }


def test_a_refused_question_is_missing_in_a_systemone_answer() -> None:
    request = systemone(a=LANE, b=LANE)
    assert list(write_systemone(request, answers(read_systemone(request), [], [0.5, 0.5])).answers) == ["b"]


def test_criteria_of_a_noul_stand_in_the_order_of_its_probabilities() -> None:
    request = systemone(a={"type": "noul", "instructions": "?", "criteria": {"false": "no good", "true": "good"}})
    assert read_systemone(request).questions[0].options == [Option(value=True, description="good"), Option(value=False, description="no good")]


def test_structured_instructions_become_json_text() -> None:
    request = systemone(a={"type": "noul", "instructions": {"question": "同一个人？", "name": "Li"}})
    assert read_systemone(request).questions[0].instructions == '{"question":"同一个人？","name":"Li"}'


@pytest.mark.parametrize(
    ("question", "param", "words"),
    [
        ({"type": "choice", "instructions": "?"}, "questions.lane.criteria", "must be an object"),
        ({"type": "choice", "instructions": "?", "criteria": ["a", "b"]}, "questions.lane.criteria", "got a list"),
        ({"type": "choice", "instructions": "?", "criteria": {"a": None}}, "questions.lane.criteria", "1 options; 2 to 255"),
        ({"type": "choice", "instructions": "?", "criteria": {str(at): None for at in range(256)}}, "questions.lane.criteria", "256 options"),
        ({"type": "score", "instructions": "?", "criteria": {"a": "b"}}, "questions.lane.criteria", "must be a list"),
        ({"type": "score", "instructions": "?", "criteria": ["a"] * 11}, "questions.lane.criteria", "11 levels; 2 to 10"),
        ({"type": "noul", "instructions": "?", "criteria": {"yes": "a"}}, "questions.lane.criteria", "'true' and 'false'"),
        ({"type": "noul", "instructions": " "}, "questions.lane.instructions", "empty"),
    ],
)
def test_what_is_wrong_with_a_systemone_question_is_said_of_its_field(question: JsonValue, param: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        read_systemone(systemone(lane=question))
    assert caught.value.param == param


def test_choice_values_keep_their_type() -> None:
    choices: list[JsonValue] = [{"value": True}, {"value": "true"}, {"value": "other", "description": "neither"}]
    request = decisions({"type": "choice", "instructions": "?", "choices": choices})
    reply = write_decisions(request, answers(read_decisions(request), [0.7, 0.2, 0.1])).model_dump()
    assert reply["answers"][0]["choice"] is True
    assert [pair["value"] for pair in reply["answers"][0]["probabilities"]] == [True, "true", "other"]


def test_a_number_is_no_choice_value() -> None:
    with pytest.raises(ValidationError):
        decisions({"type": "choice", "instructions": "?", "choices": [{"value": 1}, {"value": 0}]})


def test_decisions_answer_in_order_also_under_equal_and_missing_names() -> None:
    predicate: JsonObject = {"type": "predicate", "instructions": "?"}
    levels: list[JsonValue] = [{"label": "low"}, {"label": "high", "description": "very"}]
    request = decisions(predicate, predicate | {"name": "a"}, predicate | {"name": "a"}, {"type": "score", "instructions": "?", "levels": levels})
    reply = write_decisions(request, answers(read_decisions(request), [0.1, 0.9], [0.2, 0.8], [], [0.4, 0.6])).model_dump()
    assert reply["answers"] == [
        {"type": "predicate", "name": None, "probability": 0.1},
        {"type": "predicate", "name": "a", "probability": 0.2},
        {"type": "refusal", "name": "a"},
        {
            "type": "score",
            "name": None,
            "score": 0.6,
            "confidence": pytest.approx(0.2),
            "probabilities": [{"value": 0, "label": "low", "probability": 0.4}, {"value": 1, "label": "high", "probability": 0.6}],
        },
    ]
    assert reply["usage"]["total_tokens"] == 9


def test_one_user_message_is_a_plain_text_and_a_conversation_keeps_its_roles_and_tools() -> None:
    question: JsonObject = {"type": "predicate", "instructions": "?"}
    parts: list[JsonValue] = [{"type": "input_text", "text": "Look:"}, {"type": "input_json", "data": {"a": 1}}]
    message: JsonObject = {"role": "user", "content": parts}
    assert read_decisions(decisions(question, said=[message])).state == 'Look:\n{"a":1}'
    talk: list[JsonValue] = [
        message,
        {"type": "function_call", "call_id": "c", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "found"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Done."}, {"type": "refusal", "refusal": "No more."}]},
    ]
    assert read_decisions(decisions(question, said=talk)).state == [
        {"role": "user", "content": 'Look:\n{"a":1}'},
        {"tool": "find", "arguments": "{}"},
        {"tool_output": "found"},
        {"role": "assistant", "content": "Done.\nNo more."},
    ]


@pytest.mark.parametrize(
    ("question", "param"),
    [
        ({"type": "choice", "instructions": "?"}, "questions.0.choices"),
        ({"type": "choice", "instructions": "?", "choices": [{"value": "a"}, {"value": "a"}]}, "questions.0.choices"),
        ({"type": "score", "instructions": "?", "levels": [{"label": "a"}]}, "questions.0.levels"),
        ({"type": "predicate", "instructions": "?", "levels": [{"label": "a"}, {"label": "b"}]}, "questions.0.levels"),
        ({"type": "predicate", "instructions": [{"type": "input_text"}]}, "questions.0.instructions.0.text"),
        ({"type": "predicate", "instructions": [{"type": "input_image", "image_url": "data:"}]}, "questions.0.instructions.0"),
    ],
)
def test_what_is_wrong_with_a_decisions_question_is_said_of_its_field(question: JsonValue, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_decisions(decisions(question))
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ([], "input"),
        ([{"content": "a"}], "input.0.role"),
        ([{"role": "user"}], "input.0.content"),
        ([{"type": "custom_tool_call", "call_id": "c", "name": "n"}], "input.0.input"),
        ([{"type": "function_call_output", "call_id": "c", "output": "a"}], "input.0.call_id"),
    ],
)
def test_what_is_wrong_with_the_input_is_said_of_its_field(said: JsonValue, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_decisions(decisions({"type": "predicate", "instructions": "?"}, said=said))
    assert caught.value.param == param


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_without_a_form_in_utf_8_or_with_nul_is_refused_wherever_it_stands(text: str) -> None:
    with pytest.raises(ValidationError):
        systemone(**{text: LANE})
    with pytest.raises(ValidationError):
        decisions({"type": "predicate", "instructions": "?"}, said=[{"role": "user", "content": [{"type": "input_json", "data": {"a": [text]}}]}])


@pytest.mark.parametrize("count", [2, 3, 10, MAX_OPTIONS])
def test_confidence_is_0_of_even_probabilities_and_1_of_certainty(count: int) -> None:
    assert choice_confidence([1 / count] * count) == pytest.approx(0)
    assert choice_confidence([1.0] + [0.0] * (count - 1)) == 1
    assert score_confidence([0.0] * (count - 1) + [1.0]) == 1
    assert 0 <= score_confidence([1 / count] * count) < 0.01
