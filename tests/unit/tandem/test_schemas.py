"""Wire objects refuse what they do not know and keep text well-formed."""

import pytest
from pydantic import ValidationError

from tandem.schemas.jobs import TERMINAL_STATUSES, AnswerContract, Budget, JobRequest, JobStatus
from tandem.schemas.threads import MessageCreate


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, ("input",)),
        ({"input": "x", "speed": 1}, ("speed",)),
        ({"input": "a\x00b"}, ("input", "function-before[_check_if_text(), str]")),
        ({"input": "x", "effort": "huge"}, ("effort",)),
        ({"input": "x", "budget": {"max_calls": -1}}, ("budget", "max_calls")),
        ({"input": "x", "budget": {"max_seconds": float("inf")}}, ("budget", "max_seconds")),
        ({"input": "x", "answer": {"kind": "poem"}}, ("answer", "kind")),
        ({"input": "x", "priority": 10}, ("priority",)),
        ({"input": "x", "metadata": {f"k{n}": "v" for n in range(17)}}, ("metadata",)),
    ],
)
def test_a_bad_job_is_refused_at_the_field(body: dict[str, object], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(body)
    assert place in [error["loc"] for error in caught.value.errors()]


def test_half_a_surrogate_pair_is_refused_with_its_offset() -> None:
    with pytest.raises(ValidationError, match="offset 3"):
        MessageCreate(content="abc\ud800")


def test_chinese_and_emoji_pass_unchanged() -> None:
    assert JobRequest(input="帮我比较三种方案 🚲").input == "帮我比较三种方案 🚲"


def test_the_schema_of_an_answer_is_called_schema_on_the_wire() -> None:
    contract = AnswerContract.model_validate({"kind": "json", "schema": {"type": "object"}})
    assert contract.json_schema == {"type": "object"}
    assert contract.model_dump(by_alias=True)["schema"] == {"type": "object"}


def test_terminal_statuses_are_the_last_four() -> None:
    assert list(JobStatus)[-4:] == [status for status in JobStatus if status.is_terminal]
    assert len(TERMINAL_STATUSES) == 4


def test_an_empty_budget_limits_nothing_by_itself() -> None:
    assert Budget().model_dump(exclude_none=True) == {}
