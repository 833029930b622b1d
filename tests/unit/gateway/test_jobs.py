from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.jobs import check_job, retried
from gateway.once import fingerprint
from gateway.routing import newest_and_history, title_of
from tandem.errors import CallerError, InputTooLong, InvalidRequest
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import JobRequest, JobRetry

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LIMITS: dict[str, Any] = {"max_input_chars": 100, "max_documents_chars": 50, "now": NOW}


def check(**fields: Any) -> None:
    check_job(JobRequest.model_validate({"input": "add 2 and 2"} | fields), **LIMITS)


def later(**spans: float) -> str:
    return (NOW + timedelta(**spans)).isoformat()


def document(name: str, length: int = 1) -> dict[str, str]:
    return {"name": name, "text": "x" * length}


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"input": ""}, InvalidRequest, "input"),
        ({"input": " \n"}, InvalidRequest, "input"),
        ({"input": []}, InvalidRequest, "input"),
        ({"input": "x" * 101}, InputTooLong, "input"),
        ({"input": [{"role": "user", "content": "x" * 101}, {"role": "user", "content": "y"}]}, InputTooLong, "input"),
        ({"documents": [document("a"), document("b"), document("a")]}, InvalidRequest, "documents"),
        ({"documents": [document("a", 30), document("b", 21)]}, InputTooLong, "documents"),
        ({"run_at": later(days=367)}, InvalidRequest, "run_at"),
        ({"deadline": later(days=367)}, InvalidRequest, "deadline"),
        ({"deadline": later(seconds=-1)}, InvalidRequest, "deadline"),
        ({"deadline": later(seconds=0)}, InvalidRequest, "deadline"),
        ({"run_at": later(hours=2), "deadline": later(hours=2)}, InvalidRequest, "deadline"),
        ({"thread_id": "job_00000000000000000000000000"}, InvalidRequest, "thread_id"),
        ({"parent_id": "nonsense"}, InvalidRequest, "parent_id"),
        ({"webhook_endpoints": ["whe_00000000000000000000000000", "job_x"]}, InvalidRequest, "webhook_endpoints"),
        ({"answer": {"kind": "choice"}}, InvalidRequest, "answer.choices"),
        ({"answer": {"kind": "text", "choices": ["a", "b"]}}, InvalidRequest, "answer.choices"),
        ({"answer": {"kind": "choice", "choices": ["a", "a"]}}, InvalidRequest, "answer.choices"),
        ({"answer": {"kind": "number", "schema": {"type": "number"}}}, InvalidRequest, "answer.schema"),
        ({"answer": {"kind": "json", "schema": {"type": "nonsense"}}}, InvalidRequest, "answer.schema"),
        ({"answer": {"kind": "json", "schema": {"enum": ["x" * 66_000]}}}, InvalidRequest, "answer.schema"),
        ({"answer": {"kind": "json", "schema": {"pattern": "(" * 3_000 + ")" * 3_000}}}, InvalidRequest, "answer.schema"),
        ({"answer": {"kind": "json", "schema": {"pattern": "("}}}, InvalidRequest, "answer.schema"),
        ({"answer": {"kind": "json", "schema": {"anyOf": [{"$ref": "http://169.254.169.254/x"}]}}}, InvalidRequest, "answer.schema"),
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
        {"documents": [document("a", 25), document("b", 25)]},
        {"run_at": later(days=-5)},
        {"run_at": later(hours=1), "deadline": later(hours=2)},
        {"parent_id": "job_00000000000000000000000000", "webhook_endpoints": []},
        {"answer": {"kind": "choice", "choices": ["a", "b"]}},
        {"answer": {"kind": "json", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
        {"answer": {"kind": "json"}},
        {"answer": {"kind": "json", "schema": {"$defs": {"a": {"type": "integer"}}, "$ref": "#/$defs/a"}}},
    ],
)
def test_a_sensible_job_is_accepted(fields: dict[str, Any]) -> None:
    check(**fields)


def test_documents_that_are_too_long_name_both_numbers() -> None:
    with pytest.raises(InputTooLong, match=r"51 characters together, 50 are allowed"):
        check(documents=[document("a", 30), document("b", 21)])


def test_a_retry_asks_the_same_with_its_own_limits_and_no_moments() -> None:
    request = JobRequest.model_validate({
        "input": "x",
        "budget": {"max_calls": 2, "max_tokens": 500},
        "run_at": later(hours=1),
        "deadline": later(hours=2),
        "parent_id": "job_00000000000000000000000000",
        "metadata": {"a": "b"},
    })
    again = retried(request, JobRetry.model_validate({"budget": {"max_calls": 9, "max_seconds": 5}}))
    assert again == JobRequest.model_validate({
        "input": "x", "budget": {"max_calls": 9, "max_tokens": 500, "max_seconds": 5}, "metadata": {"a": "b"},
    })  # fmt: skip


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
