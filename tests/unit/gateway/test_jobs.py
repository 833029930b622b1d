from typing import Any

import pytest

from gateway.jobs import check_job
from gateway.routes.jobs import fingerprint
from gateway.routing import newest_and_history, title_of
from tandem.errors import CallerError, InputTooLong, InvalidRequest, UnknownTool
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import JobRequest


def check(**fields: Any) -> None:
    check_job(JobRequest.model_validate({"input": "add 2 and 2"} | fields), max_input_chars=100, tools=frozenset({"python"}))


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"input": ""}, InvalidRequest, "input"),
        ({"input": " \n"}, InvalidRequest, "input"),
        ({"input": []}, InvalidRequest, "input"),
        ({"input": "x" * 101}, InputTooLong, "input"),
        ({"input": [{"role": "user", "content": "x" * 101}, {"role": "user", "content": "y"}]}, InputTooLong, "input"),
        ({"tools": ["python", "rm_rf"]}, UnknownTool, "tools"),
        ({"answer": {"kind": "choice"}}, InvalidRequest, "answer.choices"),
        ({"answer": {"kind": "text", "choices": ["a", "b"]}}, InvalidRequest, "answer.choices"),
        ({"answer": {"kind": "choice", "choices": ["a", "a"]}}, InvalidRequest, "answer.choices"),
        ({"answer": {"kind": "number", "schema": {"type": "number"}}}, InvalidRequest, "answer.schema"),
        ({"answer": {"kind": "json", "schema": {"type": "nonsense"}}}, InvalidRequest, "answer.schema"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(fields: dict[str, Any], kind: type[CallerError], param: str) -> None:
    with pytest.raises(kind) as caught:
        check(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": []},
        {"tools": ["python"]},
        {"answer": {"kind": "choice", "choices": ["a", "b"]}},
        {"answer": {"kind": "json", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
        {"answer": {"kind": "json"}},
    ],
)
def test_a_sensible_job_is_accepted(fields: dict[str, Any]) -> None:
    check(**fields)


def test_spelled_out_defaults_and_field_order_do_not_change_the_fingerprint() -> None:
    plain = fingerprint(JobRequest(input="x"))
    assert fingerprint(JobRequest.model_validate({"priority": 5, "answer": {"kind": "text"}, "input": "x"})) == plain
    assert fingerprint(JobRequest(input="x", priority=4)) != plain


def test_a_title_is_the_first_line_and_short() -> None:
    assert title_of("\n  Add up\nmore") == "Add up"
    assert len(title_of("x" * 500)) == 80


def test_the_newest_human_message_is_what_is_routed() -> None:
    said = [ChatMessage(role="user", content="a"), ChatMessage(role="user", content="b"), ChatMessage(role="assistant", content="c")]
    assert newest_and_history(said) == ("b", ["a"])
    assert newest_and_history(said[2:]) == ("c", [])
