"""What a model says at its turn with tools."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from slow_worker.moves import Move, move_schema, read_move
from tandem.schemas.tools import ToolSpec


def spec(name: str, parameters: dict[str, Any]) -> ToolSpec:
    return ToolSpec(name=name, description="", parameters=parameters, side_effect="pure", timeout_s=1)


@pytest.mark.parametrize(
    ("text", "move"),
    [
        ('{"tool": "look", "arguments": {"n": 1}}', Move("look", {"n": 1})),
        ('Sure!\n```json\n{"tool": "look", "arguments": {}}\n```', Move("look", {})),
        ('{"name": "look", "parameters": {"n": 1}}', Move("look", {"n": 1})),
        ('{"tool": "look", "arguments": "{\\"n\\": 1}"}', Move("look", {"n": 1})),
        ('{"tool": "look"}', Move("look", {})),
        ('{"answer": "四十二"}', Move(answer="四十二")),
        ('{"answer": {"n": 1}}', Move(answer='{"n": 1}')),
        ('{"final": 42}', Move(answer="42")),
    ],
)
def test_a_turn_is_read_as_models_write_it(text: str, move: Move) -> None:
    assert read_move(text) == (move, "")


@pytest.mark.parametrize("text", ["", "It is Paris.", "[1]", "{}", '{"tool": "look", "arguments": [1]}', '{"tool": ', '{"tool": 7}'])
def test_what_is_no_turn_says_what_to_write(text: str) -> None:
    move, fault = read_move(text)

    assert move is None
    assert fault


@given(st.text())
def test_no_reply_makes_the_reader_stumble(text: str) -> None:
    move, fault = read_move(text)

    assert (move is None) is bool(fault)


def test_the_schema_takes_calls_and_answers_and_nothing_else() -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    schema = Draft202012Validator(move_schema([spec("look", parameters)]))

    assert schema.is_valid({"tool": "look", "arguments": {"n": 1}})
    assert schema.is_valid({"answer": "x"})
    wrong_ones: list[dict[str, Any]] = [
        {"tool": "look"},
        {"tool": "other", "arguments": {}},
        {"tool": "look", "arguments": {"m": 1}},
        {"answer": 1},
        {},
    ]
    assert not any(schema.is_valid(wrong) for wrong in wrong_ones)


def test_lengths_patterns_and_references_stay_out_of_the_grammar() -> None:
    long = {
        "type": "object",
        "properties": {"code": {"type": "string", "maxLength": 20_000, "pattern": "^a", "description": "x"}},
        "minProperties": 1,
    }
    referring = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}

    plain, loose = [branch["properties"]["arguments"] for branch in cast("Any", move_schema([spec("a", long), spec("b", referring)]))["anyOf"][:2]]
    assert plain == {"type": "object", "properties": {"code": {"type": "string"}}}
    assert loose == {"type": "object"}
    assert "maxLength" not in json.dumps(move_schema([spec("a", long)]))


def test_an_address_is_told_to_be_one_address() -> None:
    parameters = {"type": "object", "properties": {"url": {"type": "string"}, "find": {"type": "string"}}, "required": ["url"]}
    page = spec("web_fetch", parameters).model_copy(update={"url_arguments": ["url"]})

    schema = json.dumps(move_schema([page]))

    assert '"url": {"type": "string", "pattern": "^https?://[^ ]+$"}' in schema
    assert '"find": {"type": "string"}' in schema
