"""Policies around a tool."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tandem.ids import JobId, TenantId
from tandem.ports import ToolContext
from tandem.schemas.tools import ToolResult, ToolSpec
from tools.base import argument_fault, as_json, capped
from tools.wrappers import guarded

CONTEXT = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1")


@dataclass(frozen=True)
class Slow:
    """A tool that sleeps, then gives a long text."""

    seconds: float = 0.0
    spec = ToolSpec(
        name="slow",
        description="sleeps",
        parameters={"type": "object", "additionalProperties": False},
        side_effect="pure",
        timeout_s=0.02,
        max_output_bytes=10,
    )

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        await asyncio.sleep(self.seconds)
        return ToolResult(ok=True, output="x" * 100)


async def test_a_call_that_takes_too_long_is_stopped() -> None:
    result = await guarded(Slow(seconds=5)).run({}, CONTEXT)

    assert result.error is not None
    assert (result.ok, result.error.code, result.error.retryable) == (False, "timeout", True)
    assert result.seconds < 1


def test_a_reference_out_of_a_tools_schema_is_refused_and_never_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        outward = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        spec = Slow.spec.model_copy(update={"parameters": {"type": "object", "properties": {"n": {"$ref": outward}}}})
        fault = argument_fault(spec, {"n": 1})
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert fault is not None
    assert f"refer to {outward!r}" in fault
    assert argument_fault(spec, {}) is None


async def test_long_output_is_cut_and_marked() -> None:
    result = await guarded(Slow()).run({}, CONTEXT)

    assert (result.output, result.is_truncated) == ("x" * 10, True)


def test_structured_output_that_is_too_long_becomes_its_cut_text() -> None:
    result = capped(ToolResult(ok=True, output=list(range(100))), Slow.spec.model_copy(update={"max_output_bytes": 12}))

    assert (result.output, result.is_truncated) == ("[0, 1, 2, 3,", True)


def test_short_output_stays_as_it_is() -> None:
    result = ToolResult(ok=True, output={"a": 1})

    assert capped(result, Slow.spec.model_copy(update={"max_output_bytes": 100})) is result


def test_a_text_is_cut_between_characters_where_its_tokens_are_too_many() -> None:
    result = capped(ToolResult(ok=True, output="天气" * 100), Slow.spec.model_copy(update={"max_output_bytes": 1_000, "max_output_tokens": 8}))

    assert (result.output, result.is_truncated) == ("天气天气", True)


class Hostile:
    """An object whose text forms run code."""

    def __repr__(self) -> str:
        raise AssertionError("the host must not ask for it")


def test_a_strange_object_is_named_by_its_type_only() -> None:
    assert as_json([Hostile(), {Hostile: 1}])  # the key's own type is a class of ours: only its text is used
    assert as_json(Hostile()) == "<Hostile>"


def test_a_value_that_holds_itself_is_cut() -> None:
    value: list[object] = []
    value.append(value)

    assert "..." in str(as_json(value))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.integers(), inner)
    )
)
def test_every_value_becomes_json_that_fits_64_bits(value: object) -> None:
    ToolResult(ok=True, output=as_json(value))
