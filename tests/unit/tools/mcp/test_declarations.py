"""What of a stranger's declaration reaches a model."""

import hashlib
from collections.abc import Mapping

import pytest
from mcp import types

from tools.base import argument_fault
from tools.mcp.declarations import MAX_DESCRIPTION_CHARS, declarations, tool_name
from tools.mcp.servers import Command, McpServer

SERVER = McpServer("shop", Command("x", (), {}, None))
NOTHING: Mapping[str, object] = {"type": "object", "properties": {}}


def entry(name: str = "buy", description: str = "Buys.", schema: Mapping[str, object] | None = None, **rest: object) -> types.Tool:
    return types.Tool.model_validate({"name": name, "description": description, "inputSchema": schema or NOTHING, **rest})


@pytest.mark.parametrize(("name", "expected"), [("buy", "buy"), ("Buy-Now.v2", "buy_now_v2"), ("__buy__", "buy")])
def test_a_name_becomes_one_of_ours(name: str, expected: str) -> None:
    assert tool_name(SERVER, name) == f"shop__{expected}"


@pytest.mark.parametrize(("name", "kept"), [("查询天气", "shop"), ("buy鱼", "shop__buy"), ("a" * 59, "shop__" + "a" * 49)])
def test_a_name_that_would_lose_letters_ends_in_its_digest(name: str, kept: str) -> None:
    found = tool_name(SERVER, name)

    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    assert found == (f"shop__{digest}" if kept == "shop" else f"{kept}_{digest}")
    assert len(found) <= 64


def test_names_that_would_be_the_same_are_refused_all() -> None:
    found = declarations(SERVER, [entry("buy-it"), entry("buy_it"), entry("sell")])

    assert [bool(each.fault) for each in found] == [True, True, False]
    assert "'shop__buy_it'" in found[0].fault


def test_hidden_characters_are_taken_out_of_every_word() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": "x\u202ey\U000e0041"}}}
    (found,) = declarations(SERVER, [entry(description="Buys\u200b \x1b[31mfish\x1b[0m\u2066 鱼", schema=schema)])

    assert found.spec.description == "Buys fish 鱼"
    assert found.spec.parameters["properties"] == {"a": {"type": "string", "description": "xy"}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a\u200b": {}}},
        {"type": "object", "properties": {"a": {"enum": ["x\u202e"]}}},
        {"type": "object", "properties": {"a": {}, "a\u200b": {}}},
    ],
)
def test_a_schema_that_hides_characters_where_a_call_must_spell_them_is_refused(schema: dict[str, object]) -> None:
    (found,) = declarations(SERVER, [entry(schema=schema)])

    assert "hidden characters" in found.fault


def test_a_long_description_is_cut() -> None:
    (found,) = declarations(SERVER, [entry(description="字" * 5_000)])

    assert len(found.spec.description) == MAX_DESCRIPTION_CHARS


def test_a_tool_without_a_description_says_whose_it_is() -> None:
    (found,) = declarations(SERVER, [entry(description="\u200b")])

    assert found.spec.description == "buy of the MCP server shop"


def test_a_schema_is_closed_and_an_unsound_one_refused() -> None:
    found = declarations(SERVER, [entry("a"), entry("b", schema={"type": "object", "properties": {"x": {"$ref": "http://evil.example/"}}})])

    assert found[0].spec.parameters["additionalProperties"] is False
    assert "not part of them" in found[1].fault


def test_only_the_listed_tools_are_taken() -> None:
    server = McpServer("shop", SERVER.reach, tools=frozenset({"sell"}))

    assert [each.entry.name for each in declarations(server, [entry("buy"), entry("sell")])] == ["sell"]


@pytest.mark.parametrize(
    ("hints", "stated", "expected"),
    [
        (None, None, "write"),
        ({"readOnlyHint": True}, None, "read_external"),
        ({"readOnlyHint": False}, None, "write"),
        (None, "pure", "pure"),
        ({"readOnlyHint": True}, "write", "write"),
        ({"readOnlyHint": False}, "pure", "write"),
        ({"destructiveHint": True}, "read_external", "write"),
        ({"readOnlyHint": False}, "exec", "exec"),
    ],
)
def test_the_operator_classes_a_tool_but_not_below_what_its_server_admits(hints: object, stated: str | None, expected: str) -> None:
    server = McpServer("shop", SERVER.reach, side_effects={"buy": stated} if stated else {})  # pyright: ignore[reportArgumentType] - one of the classes

    (found,) = declarations(server, [entry(annotations=hints)])

    assert found.spec.side_effect == expected


def test_arguments_that_hold_addresses_are_known_by_name_or_format() -> None:
    properties = {
        "url": {"type": "string"},
        "imageUrl": {"type": "string"},
        "callback_uri": {"type": "string"},
        "to": {"type": "string", "format": "uri"},
        "pages": {"type": "array", "items": {"type": "string", "format": "url"}},
        "curl": {"type": "string"},
        "text": {"type": "string"},
    }
    (found,) = declarations(SERVER, [entry(schema={"type": "object", "properties": properties})])

    assert found.spec.url_arguments == ["url", "imageUrl", "callback_uri", "to", "pages"]


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(x|y){1,}$", "a*b*c*$", "a" * 201])
def test_a_pattern_that_could_take_for_ever_becomes_words(pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}

    (found,) = declarations(SERVER, [entry(schema=schema)])

    assert found.spec.parameters["properties"] == {"a": {"type": "string", "$comment": f"must match {pattern[:200]}"}}


def test_an_ordinary_pattern_stays() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": r"^\d{4}-\d{2}$"}}}

    (found,) = declarations(SERVER, [entry(schema=schema)])

    assert found.spec.parameters["properties"] == schema["properties"]


def test_arguments_named_by_a_slow_pattern_are_refused() -> None:
    (found,) = declarations(SERVER, [entry(schema={"type": "object", "patternProperties": {"^(a+)+$": {}}})])

    assert "take for ever" in found.fault


def test_a_schema_without_a_bottom_is_refused() -> None:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}}

    (found,) = declarations(SERVER, [entry(schema=schema)])

    assert "more than 64 levels" in found.fault


def test_a_schema_that_is_its_own_part_checks_no_call() -> None:
    (found,) = declarations(SERVER, [entry(schema={"type": "object", "allOf": [{"$ref": "#"}]})])

    assert "cannot be checked" in (argument_fault(found.spec, {}) or "")
