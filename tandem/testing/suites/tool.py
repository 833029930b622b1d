"""The conformance suite of ``Tool``: subclass it where the fixtures are.

Fixtures: ``tool``, and ``good_arguments``, with which a call succeeds.
"""
# ruff: noqa: S101 - a conformance suite asserts

import json
import time

from jsonschema.validators import validator_for
from pydantic import JsonValue

from tandem.ids import JobId, TenantId
from tandem.ports import Tool, ToolContext

CONTEXT = ToolContext(tenant=TenantId("acme"), job_id=JobId("job_conformance"), call_id="call_1")


class ToolConformance:
    """Everything a ``Tool`` promises."""

    def test_its_parameters_are_a_closed_json_schema(self, tool: Tool) -> None:
        schema = tool.spec.parameters
        validator_for(schema).check_schema(schema)
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False

    async def test_a_good_call_succeeds_within_its_time_and_gives_json(self, tool: Tool, good_arguments: dict[str, JsonValue]) -> None:
        started = time.monotonic()
        result = await tool.run(good_arguments, CONTEXT)
        assert result.ok, result.error
        assert time.monotonic() - started <= tool.spec.timeout_s
        json.dumps(result.output, allow_nan=False)

    async def test_an_unknown_argument_is_named_not_raised(self, tool: Tool, good_arguments: dict[str, JsonValue]) -> None:
        result = await tool.run(good_arguments | {"surprise": 1}, CONTEXT)
        assert not result.ok
        assert result.error is not None
        assert "surprise" in result.error.message

    async def test_missing_arguments_are_an_error_the_model_can_act_on(self, tool: Tool) -> None:
        result = await tool.run({}, CONTEXT)
        assert not result.ok
        assert result.error is not None
        assert result.error.code
        assert result.error.message
