"""A schema that goes out through an adapter and comes back is the same schema, and still refuses what it does not name."""

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from mcp import types
from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.ids import JobId, TenantId
from tandem.ports import ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import SideEffect, ToolResult, ToolSpec
from tools.adapters.langchain import from_langchain, to_langchain
from tools.adapters.mcp import from_mcp, from_mcp_result, hints_of, says_it_writes, side_effect_of, to_mcp, to_mcp_result
from tools.adapters.openai import from_openai, is_strict, to_openai
from tools.adapters.schemas import MAX_SCHEMA_BYTES, closed
from tools.base import INVALID_ARGUMENTS, argument_fault, refused
from tools.wrappers import guarded

CONTEXT = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="call_1")

names = st.sampled_from(["city", "城市", "天 气", "config", "run_manager", "title", "type", "description", "self", "callbacks", "x-y", "a.b", "é"])
words = st.sampled_from(["a city", "一个城市", "", 'a "quoted" word', "§"])


def leaves() -> st.SearchStrategy[JsonObject]:
    kinds: st.SearchStrategy[JsonValue] = st.sampled_from(["string", "integer", "number", "boolean", "null"])
    plain = st.fixed_dictionaries({"type": kinds}, optional={"description": words, "title": words, "default": st.none()})
    choices = st.lists(st.sampled_from(["北京", "上海", "Rome", 3, None, 2.5]), min_size=1, max_size=4, unique_by=repr)
    return st.one_of(
        cast("st.SearchStrategy[JsonObject]", plain),
        cast("st.SearchStrategy[JsonObject]", st.fixed_dictionaries({"enum": choices})),
        st.just(cast("JsonObject", {"$ref": "#/$defs/点"})),
        st.just(cast("JsonObject", {"type": "string", "pattern": "^[一-龥]+$", "minLength": 1})),
    )


def objects(inner: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    @st.composite
    def built(draw: st.DrawFn) -> JsonObject:
        properties = draw(st.dictionaries(names, inner, max_size=4))
        required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
        return {"type": "object", "properties": cast("JsonValue", properties), "required": cast("JsonValue", required), "additionalProperties": False}

    return built()


def nested() -> st.SearchStrategy[JsonObject]:
    def grown(inner: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
        arrays = cast("st.SearchStrategy[JsonObject]", st.fixed_dictionaries({"type": st.just("array"), "items": inner}))
        unions = cast("st.SearchStrategy[JsonObject]", st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}))
        return st.one_of(objects(inner), arrays, unions)

    return st.recursive(leaves(), grown, max_leaves=8)


@st.composite
def specs(draw: st.DrawFn) -> ToolSpec:
    parameters = draw(objects(nested()))
    point: JsonObject = {"type": "object", "properties": {"x": {"type": "number"}, "近": {"$ref": "#/$defs/点"}}, "additionalProperties": False}
    return ToolSpec(
        name=draw(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)),
        description=draw(words),
        parameters={**parameters, "$defs": {"点": point}},
        side_effect=draw(st.sampled_from(["pure", "read_internal", "read_external", "write", "exec"])),
        timeout_s=3.0,
    )


class Recording:
    """A tool that keeps what it was given."""

    def __init__(self, spec: ToolSpec, result: ToolResult | None = None) -> None:
        self._spec = spec
        self._result = result or ToolResult(ok=True, output={"好": 1})
        self.calls: list[Mapping[str, JsonValue]] = []

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        self.calls.append(arguments)
        return self._result


def spec_of(parameters: JsonObject, side_effect: SideEffect = "pure") -> ToolSpec:
    return ToolSpec(name="tool", description="一个工具", parameters=parameters, side_effect=side_effect, timeout_s=3.0)


ANYTHING = spec_of({"type": "object", "properties": {"config": {}, "run_manager": {}, "城市": {"type": "string"}}, "additionalProperties": False})


@given(specs())
@settings(max_examples=30, deadline=None)
def test_openai_gives_back_what_it_was_given(spec: ToolSpec) -> None:
    there = json.loads(json.dumps(to_openai(spec)))

    assert from_openai(there, side_effect=spec.side_effect, timeout_s=3.0) == spec


@given(specs())
@settings(max_examples=30, deadline=None)
def test_mcp_gives_back_what_it_was_given(spec: ToolSpec) -> None:
    there = types.Tool.model_validate_json(to_mcp(spec).model_dump_json(by_alias=True))

    assert from_mcp(there, timeout_s=3.0, is_ours=True) == spec


@given(specs())
@settings(max_examples=30, deadline=None)
def test_langchain_gives_back_what_it_was_given(spec: ToolSpec) -> None:
    there = to_langchain(Recording(spec), lambda: CONTEXT)

    back = from_langchain(there, side_effect=spec.side_effect, timeout_s=3.0).spec
    assert (back.name, back.description, back.parameters) == (spec.name, spec.description, spec.parameters)


@given(specs())
@settings(max_examples=30, deadline=None)
def test_an_unknown_argument_is_refused_after_every_round_trip(spec: ToolSpec) -> None:
    backs = [
        from_openai(to_openai(spec), side_effect="pure", timeout_s=1.0),
        from_mcp(to_mcp(spec), timeout_s=1.0),
        from_langchain(to_langchain(Recording(spec), lambda: CONTEXT), side_effect="pure", timeout_s=1.0).spec,
    ]

    assert all(argument_fault(back, {"未知": 1}) for back in backs)


def test_langchain_tells_openai_the_same_schema_as_we_do() -> None:
    theirs = convert_to_openai_tool(to_langchain(Recording(ANYTHING), lambda: CONTEXT))

    assert theirs == to_openai(ANYTHING)


async def call(tool: BaseTool, arguments: dict[str, object]) -> ToolMessage:
    message: object = await tool.ainvoke(cast("Any", {"type": "tool_call", "id": "1", "name": tool.name, "args": arguments}))
    assert isinstance(message, ToolMessage)
    return message


async def test_langchain_passes_every_argument_on_also_those_it_has_names_for_itself() -> None:
    inner = Recording(ANYTHING)

    message = await call(to_langchain(inner, lambda: CONTEXT), {"config": 1, "run_manager": 2, "城市": "北京"})

    assert inner.calls == [{"config": 1, "run_manager": 2, "城市": "北京"}]
    assert message.content == '{"好": 1}'
    assert message.artifact == ToolResult(ok=True, output={"好": 1})


async def test_langchain_hears_of_an_unknown_argument_before_the_tool_does() -> None:
    inner = Recording(ANYTHING)

    message = await call(to_langchain(inner, lambda: CONTEXT), {"未知": 1})

    assert (message.status, inner.calls) == ("error", [])
    assert json.loads(str(message.content))["code"] == INVALID_ARGUMENTS


async def test_langchain_hears_of_a_failure_with_its_code() -> None:
    message = await call(to_langchain(Recording(ANYTHING, refused("ask for less", "timeout", retryable=True)), lambda: CONTEXT), {})

    assert message.status == "error"
    assert json.loads(str(message.content)) == {"code": "timeout", "message": "ask for less", "retryable": True}


def test_langchain_cannot_call_it_synchronously() -> None:
    assert "ainvoke" in str(to_langchain(Recording(ANYTHING), lambda: CONTEXT).invoke({}))


@tool
async def weather(城市: str, days: int = 1) -> str:  # noqa: N803 - a Chinese name has no case
    """查询天气。"""
    if days > 9:
        raise ToolException("at most 9 days")
    return f"{城市}:晴 x{days}"


async def test_a_foreign_langchain_tool_is_called_with_what_was_checked() -> None:
    ours = guarded(from_langchain(weather, side_effect="read_external", timeout_s=5.0))

    assert (await ours.run({"城市": "北京", "days": 2}, CONTEXT)).output == "北京:晴 x2"
    wrong = await ours.run({"城市": "北京", "未知": 2}, CONTEXT)
    assert wrong.error is not None
    assert wrong.error.code == INVALID_ARGUMENTS


async def test_a_foreign_langchain_tool_that_refuses_is_a_failure() -> None:
    result = await from_langchain(weather, side_effect="read_external", timeout_s=5.0).run({"城市": "北京", "days": 10}, CONTEXT)

    assert result.error is not None
    assert (result.error.code, result.error.message) == ("tool_failed", "at most 9 days")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, False),
        ({"type": "object", "properties": {}, "required": []}, False),
        ({"type": "object", "properties": {"a": {"allOf": []}}, "required": ["a"], "additionalProperties": False}, False),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}, "required": ["a"], "additionalProperties": False},
            False,
        ),
    ],
)
def test_strictness_is_asked_for_only_where_it_is_understood(parameters: JsonObject, expected: bool) -> None:
    assert is_strict(parameters) is expected
    assert ("strict" in cast("JsonObject", to_openai(spec_of(parameters), strict=True)["function"])) is expected


@pytest.mark.parametrize(
    "given", [{}, {"type": "function"}, {"type": "function", "function": {}}, {"type": "function", "function": {"name": "a", "parameters": 3}}]
)
def test_what_is_no_function_tool_is_refused(given: JsonObject) -> None:
    with pytest.raises(ToolFailed):
        from_openai(given, side_effect="pure", timeout_s=1.0)


A: JsonObject = {"a": {"type": "null"}}
CLOSED: JsonObject = {"type": "object", "properties": A, "additionalProperties": False}
TEXTS: JsonObject = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"properties": A}, CLOSED),
        ({"type": "object", "properties": A, "additionalProperties": True}, CLOSED),
        ({"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": True}),
        (TEXTS, TEXTS),
        ({"type": "object", "allOf": [{"properties": A}]}, {"type": "object", "allOf": [{"properties": A}], "unevaluatedProperties": False}),
    ],
)
def test_a_schema_is_closed_unless_it_says_what_more_may_come(given: JsonObject, expected: JsonObject) -> None:
    assert closed(given) == expected


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"type": "array"}, "instead of 'object'"),
        ({"type": "object", "properties": 3}, "JSON Schema"),
        ({"type": "object", "properties": {"a": {"$ref": "https://evil.example/s.json"}}}, "not part of them"),
        ({"type": "object", "description": "x" * MAX_SCHEMA_BYTES}, "at most"),
    ],
)
def test_a_schema_that_no_call_could_be_checked_against_is_refused(given: JsonObject, reason: str) -> None:
    with pytest.raises(ToolFailed, match=reason):
        closed(given)


@pytest.mark.parametrize("side_effect", ["pure", "read_internal", "read_external", "write", "exec"])
def test_hints_of_a_stranger_never_make_a_class_more_harmless(side_effect: SideEffect) -> None:
    read_back = side_effect_of(hints_of(side_effect))

    assert read_back == ("write" if side_effect in {"write", "exec"} else "read_external")


def test_a_stranger_without_hints_writes() -> None:
    assert side_effect_of(None) == side_effect_of(types.ToolAnnotations()) == "write"
    assert not says_it_writes(None)
    assert says_it_writes(types.ToolAnnotations(readOnlyHint=False))
    assert says_it_writes(types.ToolAnnotations(destructiveHint=True))
    assert not says_it_writes(types.ToolAnnotations(readOnlyHint=True, destructiveHint=True))


def test_the_word_of_an_entry_on_its_class_is_believed_of_our_own_entries_only() -> None:
    entry = to_mcp(spec_of({"type": "object"}, "exec"))

    assert from_mcp(entry, timeout_s=1.0, is_ours=True).side_effect == "exec"
    assert from_mcp(entry, timeout_s=1.0).side_effect == "write"


def result_of(*content: Mapping[str, object], **rest: object) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": list(content), **rest})


def test_texts_of_a_result_become_one_text_that_is_cut_at_its_limit() -> None:
    content = from_mcp_result(result_of({"type": "text", "text": "你好"}, {"type": "text", "text": "世界"}), max_chars=4, max_file_bytes=1)

    assert (content.output, content.is_cut) == ("你好\n世", True)


def test_structured_content_goes_before_texts_and_is_plain_json() -> None:
    content = from_mcp_result(result_of({"type": "text", "text": "{}"}, structuredContent={"n": 2**70}), max_chars=9, max_file_bytes=1)

    assert content.output == {"n": str(2**70)}


def test_files_of_a_result_are_counted_bounded_and_decoded() -> None:
    image = {"type": "image", "mimeType": "image/png", "data": "AAAA"}
    broken = {"type": "image", "mimeType": "image/png", "data": "*"}
    large = {"type": "resource", "resource": {"uri": "file:///a/大.bin", "blob": "AAAAAAAA"}}
    content = from_mcp_result(result_of(broken, large, *[image] * 9), max_chars=9, max_file_bytes=4)

    assert [file.name for file in content.files] == [f"image-{n}.png" for n in range(1, 9)]
    assert [note.partition(" was left out: ")[2] for note in content.notes] == [
        "its content is no base64",
        "it is larger than 4 bytes",
        "a result may hold 8 files",
    ]


def test_only_web_addresses_of_links_may_be_followed() -> None:
    def link(uri: str) -> dict[str, object]:
        return {"type": "resource_link", "uri": uri, "name": "n"}

    content = from_mcp_result(result_of(link("https://a.example/x?q=1"), link("file:///etc/passwd")), max_chars=100, max_file_bytes=1)

    assert content.links == ("https://a.example/x?q=1",)
    assert content.output == "n: https://a.example/x?q=1\nn: file:///etc/passwd"


def test_a_failure_is_an_error_for_an_mcp_client_with_its_code() -> None:
    told = to_mcp_result(refused("ask for less", "timeout", retryable=True))

    assert told.isError
    assert json.loads(cast("types.TextContent", told.content[0]).text)["code"] == "timeout"


def test_a_good_result_comes_back_from_mcp_as_it_went() -> None:
    there = to_mcp_result(ToolResult(ok=True, output={"城市": "北京"}))

    assert from_mcp_result(there, max_chars=100, max_file_bytes=1).output == {"城市": "北京"}
