"""Quantities with pint, on fractions, so that conversions are exact.

The registry takes half a second to load, which the first calculation with a unit pays. Units are looked up by name only: pint's own reading of texts
would work out ``9**9**9``.
"""

import math
from fractions import Fraction
from typing import Any

from tools.calculator.arithmetic import evaluated
from tools.confined.work import WorkRefused

_OURS = ("jin = 0.5 * kilogram", "mu_area = 2000 / 3 * meter ** 2")
"""Chinese units that pint lacks."""


class Units:
    """Calculates with units. Loading blocks: make and use it off the event loop."""

    def __init__(self) -> None:
        # Late: it costs half a second and 30 MB, and most calculations have no unit.
        import pint  # noqa: PLC0415

        kind: Any = Fraction
        self._registry: Any = pint.UnitRegistry(non_int_type=kind)
        for definition in _OURS:
            self._registry.define(definition)
        self._errors: tuple[type[Exception], ...] = (pint.PintError, AttributeError, TypeError, ArithmeticError, ValueError)

    def calculated(self, expression: str, target: str) -> tuple[object, str, str]:
        """The number, the unit's symbol and its whole name; without a unit the symbol is empty.

        Raises:
            WorkRefused: A unit is unknown, or the units do not fit.
        """
        try:
            value: Any = evaluated(expression, self._quantity, self._unit)
            if target:
                wanted: Any = evaluated(target, self._quantity, self._unit)
                if not hasattr(wanted, "units"):
                    raise WorkRefused("unknown_unit", f"{target[:60]!r} is no unit; write one such as km/h, degC or kg")
                value = self._registry.Quantity(value).to(wanted.units)
            if not hasattr(value, "units"):
                return value, "", ""
            if value.dimensionless and not target:
                return value.to("").magnitude, "", ""
            return value.magnitude, self._spelled(value, is_short=True), self._spelled(value, is_short=False)
        except self._errors as error:
            raise WorkRefused(
                "wrong_units", f"{str(error)[:200]}; convert between units of the same kind, and name units as in km, kg, hour, degC"
            ) from None

    def _quantity(self, number: Any, name: str, exponent: Any = 1) -> object:
        unit = self._unit(str(name))
        if unit.units == self._registry.Unit("degC") or unit.units == self._registry.Unit("degF"):
            # A temperature on a scale with an offset is not a multiple of its unit.
            return self._registry.Quantity(number, unit.units)
        return number * unit ** int(exponent)

    def _spelled(self, value: Any, *, is_short: bool) -> str:
        """The unit in words; pint's own formatting does not know fractions as exponents."""
        above, below = list[str](), list[str]()
        for name, exponent in sorted(value.unit_items(), key=lambda item: (item[1] < 0, str(item[0]))):
            word = str(self._registry.get_symbol(name)) if is_short else str(name)
            (above if exponent > 0 else below).append(word if abs(exponent) == 1 else f"{word}^{abs(exponent)}")
        return "/".join(["·".join(above) or "1", *below])

    def _unit(self, name: str) -> Any:
        if not name.isidentifier():
            raise WorkRefused("unknown_unit", f"{name[:60]!r} is no unit")
        return self._registry.Quantity(Fraction(1), self._registry.Unit(name))


def as_number(value: object) -> object:
    """Whole numbers whole, the rest as the nearest double to twelve digits."""
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return int(value)
        value = float(value)
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else str(value)
    return value
