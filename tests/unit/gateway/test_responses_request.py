"""What a responses request may hold, and what each lane makes of it."""

import re
from itertools import count
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.errors import invalid
from gateway.responses.items import as_messages, read_items
from gateway.responses.request import ResponseCreate, Task, choose_lane, repeated
from tandem.errors import CallerError, InputTooLong, InvalidRequest, UnknownModel, UnknownTool
from tandem.ids import DecisionId
from tandem.schemas.chat import ChatMessage
from tandem.schemas.routing import Decision, LaneChoice

SERVED: dict[str, LaneChoice] = {"auto": "auto", "fast": "fast", "slow": "slow"}
PYTHON = {"type": "code_interpreter", "container": {"type": "auto"}}
SLOW = Decision(
    lane="slow",
    band="slow",
    effort="low",
    p_slow=0.75,
    check_at=0.35,
    threshold=0.5,
    margin=0.25,
    policy_version="p1",
    model_version="m1",
    language="en",
)


def body(**fields: Any) -> ResponseCreate:
    return ResponseCreate.model_validate({"model": "auto", "input": "hi"} | fields)


def task(**fields: Any) -> Task:
    return Task(body(**fields), [ChatMessage(role="user", content="hi")], DecisionId("dec_1"), SLOW)


def read(given: Any) -> list[Any]:
    numbers = count()
    return read_items(body(input=given).input, lambda: f"msg_{next(numbers)}", max_chars=100)


@pytest.mark.parametrize(
    ("fields", "lane"),
    [
        ({}, "auto"),
        ({"model": "fast"}, "fast"),
        ({"temperature": 1}, "fast"),
        ({"top_p": 0.9}, "fast"),
        ({"tools": [PYTHON]}, "slow"),
        ({"tools": [PYTHON], "tool_choice": "none"}, "auto"),
        ({"tools": []}, "auto"),
        ({"background": True}, "slow"),
        ({"background": True, "model": "fast"}, "slow"),
    ],
)
def test_what_only_one_lane_can_do_chooses_it(fields: dict[str, Any], lane: str) -> None:
    assert choose_lane(body(**fields), SERVED) == lane


@pytest.mark.parametrize(
    ("fields", "error", "param", "remedy"),
    [
        ({"model": "gpt-9"}, UnknownModel, "model", "auto, fast, slow"),
        ({"model": "slow", "temperature": 0}, InvalidRequest, "temperature", "needs the fast lane"),
        ({"background": True, "top_p": 0.5}, InvalidRequest, "top_p", "without 'background'"),
        ({"tools": [PYTHON], "temperature": 1}, InvalidRequest, "temperature", "needs the fast lane"),
        ({"model": "fast", "tools": [PYTHON]}, InvalidRequest, "tools", "needs the slow lane"),
        ({"tools": [{"type": "file_search"}]}, UnknownTool, "tools.0.type", "'file_search' is not offered"),
        ({"tools": [{"type": "web_search", "filters": {"allowed_domains": ["a.b"]}}]}, InvalidRequest, "tools.0.filters", "cannot be confined"),
        ({"tools": [PYTHON, {"type": "function", "name": "f"}]}, UnknownTool, "tools.1.type", "'code_interpreter'"),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, InvalidRequest, "tools.0.container", "'type': 'auto'"),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": "f"}}]},
            InvalidRequest, "tools.0.container.file_ids", "as a list",
        ),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [f"f{number}" for number in range(33)]}}]},
            InvalidRequest, "tools", "at most 32",
        ),
        ({"tool_choice": "required"}, InvalidRequest, "tool_choice", "'auto' or 'none'"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_with_a_remedy(fields: dict[str, Any], error: type[CallerError], param: str, remedy: str) -> None:
    with pytest.raises(error, match=re.escape(remedy)) as caught:
        choose_lane(body(**fields), SERVED)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conversation": "conv_1"}, "'conversation' is not a field of this door; remove it"),
        ({"top_logprobs": 3}, "'top_logprobs' is not a field of this door; remove it"),
        ({"max_output_tokens": 3}, "'max_output_tokens': input should be greater than or equal to 16; got 3"),
        ({"metadata": {"k" * 65: "v"}}, "at most 64 characters"),
        ({"metadata": {str(number): "v" for number in range(17)}}, "at most 16 items"),
        ({"metadata": {"k": "v" * 513}}, "at most 512 characters"),
        ({"reasoning": {"effort": "enormous"}}, "'reasoning.effort'"),
        ({"text": {"format": {"type": "yaml"}}}, "'text.format'"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "schema"),
        ({"input": "half \ud800"}, "half a surrogate pair"),
        ({"temperature": 3}, "less than or equal to 2"),
    ],
)
def test_malformed_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        body(**fields)
    faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in caught.value.errors()]
    assert message in invalid(faults).message


@pytest.mark.parametrize(
    ("given", "error", "param", "remedy"),
    [
        ("  ", InvalidRequest, "input", "say what is to be done"),
        ([], InvalidRequest, "input", "say what is to be done"),
        ([{"type": "reasoning", "summary": ["thought"]}], InvalidRequest, "input", "say what is to be done"),
        ([{"role": "wizard", "content": "hi"}], InvalidRequest, "input.0.role", "user, assistant, system, developer"),
        ([{"role": "user"}], InvalidRequest, "input.0.content", "add the words"),
        ([{"type": "function_call_output", "call_id": "c", "output": "5"}], InvalidRequest, "input.0.type", "put the result into a message"),
        ([{"type": "item_reference", "id": "msg_1"}], InvalidRequest, "input.0.type", "previous_response_id"),
        ([{"type": "mcp_list_tools"}], InvalidRequest, "input.0.type", "send messages"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}], InvalidRequest, "input.0.content.0.type", "describe the image"),
        ([{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}], InvalidRequest, "input.0.content.0.type", "put the file's text"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], InvalidRequest, "input.0.content.0.text", "add the words"),
        ([{"role": "user", "content": "x" * 101}], InputTooLong, "input.0", "100 are allowed"),
    ],
)
def test_an_item_that_is_not_words_is_refused_by_name(given: Any, error: type[CallerError], param: str, remedy: str) -> None:
    with pytest.raises(error, match=re.escape(remedy)) as caught:
        read(given)
    assert caught.value.param == param


def test_output_that_is_sent_back_as_input_is_read_without_its_reasoning() -> None:
    items = read([
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "2+"}, {"type": "input_text", "text": "3"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Plan"}]},
        {"type": "message", "id": "msg_9", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "5"}]},
        {"role": "developer", "content": "be brief"},
    ])  # fmt: skip
    said = [(message.role, message.content) for message in as_messages(items)]
    assert said == [("user", "2+\n3"), ("assistant", "5"), ("system", "be brief")]
    assert [item["id"] for item in items] == ["msg_0", "msg_1", "msg_2"]


@pytest.mark.parametrize(
    ("text", "kind", "schema"),
    [
        (None, "text", None),
        ({"format": {"type": "text"}}, "text", None),
        ({"format": {"type": "json_object"}, "verbosity": "low"}, "json", {"type": "object"}),
        ({"format": {"type": "json_schema", "name": "x", "schema": {"type": "array"}}}, "json", {"type": "array"}),
    ],
)
def test_the_form_of_the_answer_is_the_jobs_contract(text: Any, kind: str, schema: Any) -> None:
    answer = task(text=text).job().answer
    assert (answer.kind, answer.json_schema) == (kind, schema)


@pytest.mark.parametrize(
    ("fields", "tools"),
    [
        ({}, None),
        ({"tools": []}, []),
        ({"tools": [PYTHON, PYTHON]}, ["python"]),
        ({"tools": [PYTHON, {"type": "web_search"}]}, ["python", "web_search", "web_fetch"]),
        ({"tools": [PYTHON], "tool_choice": "none"}, []),
    ],
)
def test_a_job_may_use_what_the_request_allows(fields: dict[str, Any], tools: list[str] | None) -> None:
    assert task(**fields).job().tools == tools


def test_a_job_needs_room_to_think() -> None:
    with pytest.raises(InvalidRequest, match="at least 64"):
        task(max_output_tokens=16).job()


def test_the_effort_is_read_in_openais_words() -> None:
    words = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    assert [body(reasoning={"effort": word}).effort for word in words] == ["low", "low", "low", "medium", "high", "max", "max"]
    assert body(reasoning={"summary": "auto"}).effort is None


def test_harmless_fields_are_repeated() -> None:
    given = {
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "truncation": "auto",
        "parallel_tool_calls": False,
    }
    answer = repeated(task(**given, include=["reasoning.encrypted_content"], stream_options={"include_obfuscation": False}), "m-slow")
    assert {name: answer[name] for name in given} == given
    assert answer["model"] == "m-slow"


def test_the_files_of_a_code_interpreter_are_the_jobs_files() -> None:
    container = {"type": "auto", "file_ids": ["file_b", "file_a", "file_b"]}
    asked = task(tools=[{"type": "code_interpreter", "container": container}])
    assert choose_lane(asked.body, SERVED) == "slow"
    assert asked.job().files == ["file_b", "file_a"]
    assert repeated(asked, "slow")["tools"] == [{"type": "code_interpreter", "container": container}]
    assert task(tools=[PYTHON]).job().files == []
