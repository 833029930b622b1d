import json

import pytest
from pydantic import BaseModel, ValidationError

from gateway.errors import error_answer, http_fault, invalid, rendering
from tandem import errors
from tandem.errors import AuthenticationFailed, InternalError, InvalidRequest, StorageUnavailable, TandemError, TooManyRequests, UnknownModel
from tandem.schemas.errors import ErrorBody
from tandem.schemas.jobs import JobRequest

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TandemError)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_the_one_shape(kind: type[TandemError]) -> None:
    status, headers, body = error_answer(kind("said", param="field"))
    detail = ErrorBody.model_validate_json(body).error
    assert 400 <= status <= 599
    assert (detail.code, detail.param) == (kind.code, "field")
    assert dict(headers)[b"content-type"] == b"application/json"


@pytest.mark.parametrize("error", [InternalError("secret path"), StorageUnavailable("postgresql://user:pw@host"), TandemError("x secret y")])
def test_faults_of_ours_leak_nothing(error: TandemError) -> None:
    status, _, body = error_answer(error)
    assert status >= 500
    assert error.message.encode() not in body


def test_statuses_are_those_the_stock_client_knows() -> None:
    assert rendering(UnknownModel("x")).status == 404
    assert rendering(TooManyRequests("x")).status == 429


def test_what_waiting_cures_says_how_long() -> None:
    headers = dict(error_answer(TooManyRequests("x", retry_after_s=0.2))[1])
    assert headers[b"retry-after"] == b"1"
    assert b"x-should-retry" not in headers


def test_what_asking_again_does_not_cure_tells_the_stock_client() -> None:
    assert dict(error_answer(InternalError("x"))[1])[b"x-should-retry"] == b"false"


def test_a_missing_key_names_the_scheme() -> None:
    assert dict(error_answer(AuthenticationFailed("x"))[1])[b"www-authenticate"] == b"Bearer"


def test_a_lone_surrogate_in_a_message_still_is_valid_json() -> None:
    body = error_answer(InvalidRequest("got \ud800"))[2]
    assert json.loads(body)["error"]["message"] == "got \ud800"


def fault_of(model: type[BaseModel], data: object) -> InvalidRequest:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return invalid([dict(fault) | {"loc": ("body", *fault["loc"])} for fault in caught.value.errors()])


@pytest.mark.parametrize(
    ("data", "param", "words"),
    [
        ({}, "input", "field required"),
        ({"input": "x", "lane": "warp"}, "lane", "not a field of this door"),
        ({"input": 3}, "input", "got 3"),
        ({"input": "a\x00"}, "input", "U+0000 at offset 1"),
        ({"input": "\ud800"}, "input", "half a surrogate pair"),
        ({"input": "x", "effort": "heroic"}, "effort", "'heroic'"),
        ({"input": "x", "budget": {"max_calls": 0}}, "budget.max_calls", "got 0"),
        ({"input": "x", "budget": {"max_wishes": 3}}, "budget.max_wishes", "not a field"),
        ({"input": [{"role": "user", "content": 1}]}, "input.0.content", "got 1"),
        ({"input": "x", "answer": {"kind": "song"}}, "answer.kind", "'song'"),
        ({"input": "x", "metadata": {"a": "b" * 600}}, "metadata.a", "at most 512"),
    ],
)
def test_a_validation_fault_names_field_and_value(data: object, param: str, words: str) -> None:
    error = fault_of(JobRequest, data)
    assert error.param == param
    assert words in error.message


def test_an_unknown_door_and_a_wrong_method_have_the_one_shape() -> None:
    assert error_answer(http_fault(404, "GET", "/nope"))[0] == 404
    status, headers, body = error_answer(http_fault(405, "PUT", "/v1/jobs", {"Allow": "GET, POST"}))
    assert (status, dict(headers)[b"allow"]) == (405, b"GET, POST")
    assert "use GET, POST" in ErrorBody.model_validate_json(body).error.message
