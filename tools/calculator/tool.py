"""The ``calculator`` tool. Pure: the same expression always gives the same answer."""

import asyncio
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from pydantic import JsonValue

from tandem.ports import ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tools.base import as_json, refused
from tools.calculator.arithmetic import evaluated
from tools.calculator.spelling import in_one_spelling
from tools.calculator.units import Units, as_number
from tools.confined.work import WorkRefused
from tools.offers import Offer, Supplies

_EXACT_DIGITS: Final = 30

SPEC: Final = ToolSpec(
    name="calculator",
    description=(
        "Calculates exactly: + - * / // ^ ( ), percentages (15% of 80), functions (sqrt, log, ln, sin in radians, round, factorial, comb, gcd, mean, "
        "median, stdev, min, max ...), pi, e; units with conversion (3 km / 20 min in km/h; 100 degF to degC). Chinese spelling works (３×４, 5公里)."
    ),
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string", "minLength": 1, "maxLength": 500}},
        "required": ["expression"],
        "additionalProperties": False,
    },
    side_effect="pure",
    timeout_s=10.0,
    max_output_tokens=4_000,
    examples=[
        ToolExample(arguments={"expression": "(1299 * 0.85 - 100) / 3"}),
        ToolExample(arguments={"expression": "42.195 km / (2 hour + 1 min) in km/h"}),
        ToolExample(arguments={"expression": "98.6 degF to degC"}),
    ],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:  # noqa: ARG001 - needs nothing of the machine
    """The tool; it works everywhere."""
    return [Offer(SPEC, CalculatorTool())]


class CalculatorTool:
    """Calculates, and loads the units when the first one is named."""

    def __init__(self) -> None:
        self._units: Units | None = None
        self._loading = asyncio.Lock()

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:  # noqa: ARG002 - a pure tool needs no caller
        try:
            expression, target = in_one_spelling(str(arguments["expression"]))
            value, symbol, unit = await self._calculate(expression, target)
        except WorkRefused as error:
            return refused(error.message, error.code)
        number = as_number(value)
        output: dict[str, JsonValue] = {"result": as_json(number), "text": f"{_text(value)} {symbol}".strip()}
        if unit:
            output["unit"] = unit
        if isinstance(value, Fraction) and value.denominator > 1 and len(exact := str(value)) <= _EXACT_DIGITS:
            output["exact"] = exact
        return ToolResult(ok=True, output=output)

    async def _calculate(self, expression: str, target: str) -> tuple[object, str, str]:
        if not target and "q(" not in expression:
            try:
                return evaluated(expression), "", ""
            except WorkRefused as error:
                if error.code != "unknown_name" or "(" in expression:
                    raise
        units = await self._loaded()
        return await asyncio.to_thread(units.calculated, expression, target)

    async def _loaded(self) -> Units:
        async with self._loading:
            if self._units is None:
                self._units = await asyncio.to_thread(Units)
            return self._units


def _text(value: object) -> str:
    if isinstance(value, Fraction) and value.denominator > 1:
        rest = value.denominator
        for factor in (2, 5):
            while rest % factor == 0:
                rest //= factor
        number = float(value)
        # A decimal that ends is shown whole where a double can hold it.
        return repr(number) if rest == 1 and Fraction(repr(number)) == value else f"{number:.12g}"
    return str(as_number(value))
