"""Exact arithmetic on fractions, with simpleeval walking the tree: numbers, operators, listed functions and units, nothing else.

Covered: no attribute, index, text, comprehension or assignment; every intermediate number has a bounded size, so ``9**9**9`` is refused at once and
no calculation runs long. Not covered: functions such as ``sin`` compute in double precision, and the answer then says so by having no exact form.
"""

# The tables below are of many small functions without types.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import ast
import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, cast

from simpleeval import FeatureNotAvailable, FunctionNotDefined, InvalidExpression, NameNotDefined, SimpleEval

from tools.confined.work import WorkRefused
from tools.naming import close_names

_MOST_BITS: Final = 14_000
"""Of a numerator or denominator: what Python prints in its default limit of 4,300 digits."""
_LARGEST_ARGUMENT: Final = 1_000
Number = Fraction | float
_NODES: Final = (ast.Name, ast.UnaryOp, ast.BinOp, ast.Compare, ast.IfExp, ast.BoolOp, ast.Call)


def evaluated(expression: str, quantity: Callable[..., object] | None = None, unit: Callable[[str], object] | None = None) -> object:
    """The value: a fraction where it is exact, a float, a truth value, or what ``quantity`` makes.

    Args:
        expression: In the one spelling.
        quantity: Makes a quantity of a number, a unit and its exponent.
        unit: Makes a unit of a name that is nothing else.

    Raises:
        WorkRefused: It is no calculation, or too large a one.
    """
    names: dict[str, object] = {"pi": math.pi, "e": math.e, "tau": math.tau}

    def named(node: ast.Name) -> object:
        if node.id in names:
            return names[node.id]
        if unit is None:
            raise NameNotDefined(node.id, expression)
        return unit(node.id)

    walker = SimpleEval(operators=dict(_OPERATORS), functions=dict(_FUNCTIONS) | ({"q": quantity} if quantity else {}), names=named)
    nodes = cast("dict[type[ast.AST], Callable[[Any], object]]", walker.nodes)
    walker.nodes = cast("Any", {kind: nodes[kind] for kind in _NODES} | {ast.Constant: _constant})
    try:
        return _bounded(walker.eval(expression, _parsed(expression)))
    except (FunctionNotDefined, NameNotDefined) as error:
        name = str(getattr(error, "func_name", "") or getattr(error, "name", ""))
        raise WorkRefused(
            "unknown_name", f"{name[:60]!r} is neither a function nor a constant here; {close_names(name, sorted(_FUNCTIONS))}"
        ) from None
    except (FeatureNotAvailable, InvalidExpression, SyntaxError, TypeError) as error:
        raise WorkRefused(
            "syntax_error", f"it cannot be calculated ({_short(error)}); write numbers, + - * / ^ ( ), % and functions such as sqrt(2)"
        ) from None
    except ZeroDivisionError:
        raise WorkRefused("no_value", "it divides by zero") from None
    except (ValueError, statistics.StatisticsError) as error:
        raise WorkRefused("no_value", f"it has no real value ({_short(error)})") from None
    except (OverflowError, RecursionError, MemoryError):
        raise _too_large() from None


def _parsed(expression: str) -> ast.expr:
    """The tree of one expression; simpleeval's own parser takes the first of several."""
    with warnings.catch_warnings():
        # Python warns of odd spellings such as "1if", which are the model's, not ours.
        warnings.simplefilter("ignore")
        return ast.parse(expression.strip(), mode="eval").body


def _constant(node: ast.Constant) -> object:
    value = node.value
    if isinstance(value, bool) or value is None:
        raise FeatureNotAvailable("numbers only")
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float):
        # A double prints as the shortest decimal that is it, which is what was written up to 17 digits.
        return Fraction(str(value)) if math.isfinite(value) else _refuse()
    if isinstance(value, str):
        return value
    raise FeatureNotAvailable("numbers only")


def _bounded(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Fraction(value)
    if isinstance(value, Fraction) and max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise _too_large()
    if isinstance(value, str | complex):
        raise TypeError("it is not a real number")
    return value


def _guarded(operation: Callable[..., object]) -> Callable[..., object]:
    return lambda *values: _bounded(operation(*values))


def _power(base: Any, exponent: Any) -> object:
    if not isinstance(base, int | float | Fraction):
        # A quantity: its own power, which units bound to small exponents.
        whole = _whole(exponent)
        return base**whole if abs(whole) <= 12 else _refuse()
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * max(bits - 1, 0) > _MOST_BITS:
            raise _too_large()
        return base ** int(exponent)
    return float(base) ** float(exponent)


def _root(value: Number) -> Number:
    if isinstance(value, Fraction) and value >= 0:
        root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if root * root == value:
            return root
    return math.sqrt(value)


def _whole(value: Any) -> int:
    if value != int(value):
        raise ValueError("a whole number is needed")
    return int(value)


def _small(value: Number) -> int:
    whole = _whole(value)
    if abs(whole) > _LARGEST_ARGUMENT:
        raise _too_large()
    return whole


def _rounded(value: Any, digits: Number = Fraction(0)) -> Number:
    """Halves away from zero, as people round; not to the even neighbour."""
    if not isinstance(value, int | float | Fraction):
        raise TypeError("round a number, not a quantity")
    shift = Fraction(10) ** _small(digits)
    scaled = abs(Fraction(value)) * shift + Fraction(1, 2)
    return Fraction(math.floor(scaled)) / shift * (-1 if value < 0 else 1)


def _refuse() -> Any:
    raise _too_large()


def _too_large() -> WorkRefused:
    return WorkRefused("too_large", "a number in it has more than 4,200 digits; use logarithms (log10) or smaller numbers")


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]


def _floats(function: Callable[..., float]) -> Callable[..., float]:
    return lambda *values: function(*(float(value) for value in values))


def _listed(function: Callable[[Sequence[Any]], Any]) -> Callable[..., Any]:
    return lambda *values: function(values)


_OPERATORS: Final[Mapping[type[ast.AST], Callable[..., object]]] = {
    ast.Add: _guarded(lambda a, b: a + b),
    ast.Sub: _guarded(lambda a, b: a - b),
    ast.Mult: _guarded(lambda a, b: a * b),
    ast.Div: _guarded(lambda a, b: a / b),
    ast.FloorDiv: _guarded(lambda a, b: a // b),
    ast.Mod: _guarded(lambda a, b: a % b),
    ast.Pow: _guarded(_power),
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: a,
    ast.Not: lambda a: not a,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: _floats(getattr(math, name)) for name in ("exp", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "hypot")},
    **{name: _floats(getattr(math, name)) for name in ("log2", "log10", "cbrt", "degrees", "radians")},
    "ln": _floats(math.log),
    "log": _floats(lambda value, base=math.e: math.log(value, base)),
    "sqrt": _root,
    "abs": abs,
    "round": _rounded,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "mod": _guarded(lambda a, b: a % b),
    "min": _listed(min),
    "max": _listed(max),
    "sum": _listed(sum),
    "mean": _listed(lambda values: sum(values) / Fraction(len(values))),
    "median": _listed(statistics.median),
    "stdev": _listed(statistics.stdev),
    "factorial": lambda value: math.factorial(_small(value)),
    "comb": lambda n, k: math.comb(_small(n), _small(k)),
    "perm": lambda n, k: math.perm(_small(n), _small(k)),
    "gcd": _listed(lambda values: math.gcd(*map(_whole, values))),
    "lcm": _guarded(_listed(lambda values: math.lcm(*map(_whole, values)))),
}
