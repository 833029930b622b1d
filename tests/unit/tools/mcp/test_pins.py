"""Approvals of declarations."""

from pathlib import Path

import pytest
from mcp import types

from tandem.errors import SettingsInvalid
from tools.mcp.pins import MAX_ENTRY_BYTES, Pins, differences, digest


def entry(name: str = "echo", **rest: object) -> types.Tool:
    return types.Tool.model_validate({"name": name, "description": "说", "inputSchema": {"type": "object"}, **rest})


@pytest.fixture
def pins(tmp_path: Path) -> Pins:
    return Pins(tmp_path / "home" / "mcp.pins.json")


@pytest.mark.parametrize(
    "other",
    [
        {"description": "说。"},
        {"title": "Echo"},
        {"inputSchema": {"type": "object", "title": ""}},
        {"outputSchema": {"type": "object"}},
        {"annotations": {"readOnlyHint": True}},
    ],
)
def test_every_part_of_a_declaration_is_in_the_digest(other: dict[str, object]) -> None:
    assert digest(entry("echo", **other)) != digest(entry())


def test_the_order_of_keys_and_what_nobody_reads_is_not() -> None:
    one = entry(inputSchema={"type": "object", "title": "T"})
    other = entry(inputSchema={"title": "T", "type": "object"}, _meta={"when": 3}, icons=[{"src": "https://a.example/i.png"}])

    assert digest(one) == digest(other)


def test_what_was_approved_is_read_back(pins: Pins) -> None:
    pins.approve("a", [entry()])

    assert differences(pins.read("a"), [entry()]) == []
    assert pins.read("b") == {}


def test_a_change_is_shown_with_its_hidden_characters(pins: Pins) -> None:
    pins.approve("a", [entry(), entry("old")])

    found = {each.tool: each for each in differences(pins.read("a"), [entry(description="说\u202e"), entry("new")])}

    assert {name: each.kind for name, each in found.items()} == {"echo": "changed", "new": "new", "old": "gone"}
    assert found["echo"].what == ("description",)
    assert any("\\u202e" in line for line in found["echo"].lines)


def test_the_first_use_is_only_one(pins: Pins) -> None:
    assert pins.approve("a", [entry()], is_first_use=True)
    assert not pins.approve("a", [entry("later")], is_first_use=True)

    assert list(pins.read("a")) == ["echo"]


def test_what_is_too_large_is_not_kept(pins: Pins) -> None:
    pins.approve("a", [entry(description="x" * MAX_ENTRY_BYTES)])

    assert pins.read("a") == {}


def test_a_damaged_file_says_what_to_do(pins: Pins) -> None:
    pins.path.parent.mkdir()
    pins.path.write_text("{", encoding="utf-8")

    with pytest.raises(SettingsInvalid, match="tandem tools mcp approve"):
        pins.read("a")
