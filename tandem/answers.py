"""Canonical answers: what a model wrote, reduced to a form in which equal answers are equal.

Pure text work. Numbers lose separators, currency, units and percent signs (``50%`` and ``50`` are one answer); fractions and Chinese numerals become
decimals; choices become the caller's own spelling.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

LONGEST_SHORT_ANSWER: Final = 80
"""A longer text is prose, not an answer that attempts could agree on."""
_MARK: Final = re.compile(
    r"(?:^|[\s。.!*_#])(?:final answer|the answer|answer|最终答案|答案|答)[*_\s]*(?:[:：=]|is\b|是|为)[*_\s]*[:：]?[*_\s]*", re.IGNORECASE
)
_BOXED: Final = re.compile(r"\\boxed\{([^{}]*)\}")
_HASHES: Final = re.compile(r"####\s*(.+)")
_ARABIC: Final = r"-?\d+(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|-?\.\d+"
_CHINESE: Final = r"[零〇一二两三四五六七八九十百千万亿]+(?:点[零〇一二三四五六七八九]+)?"
_NUMBER: Final = re.compile(
    rf"(?P<whole>\d+)\s+(?P<n>\d+)/(?P<d>\d+)|(?P<fn>-?\d+)\s*/\s*(?P<fd>\d+)|(?P<arabic>{_ARABIC})(?P<scale>\s*[万亿])?|(?P<zh>{_CHINESE})"
)
_LATEX_FRACTION: Final = re.compile(r"\\d?frac\{(-?\d+)\}\{(\d+)\}")
_DIGITS: Final = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS: Final = {"十": 10, "百": 100, "千": 1_000}
_MYRIADS: Final = {"万": 10_000, "亿": 100_000_000}
_LABEL: Final = re.compile(r"^\W*([A-Za-z])(?:\W|$)")


def final_line(text: str) -> str | None:
    """What a reply gives as its answer: a boxed value, what follows the last ``Answer:`` (答案：) or ``####``; None without such a mark."""
    if boxed := _BOXED.findall(text):
        return str(boxed[-1]).strip()
    if marks := list(_MARK.finditer(text)):
        lines = text[marks[-1].end() :].strip().splitlines()
        return lines[0].strip(" *_`。") or None if lines else None
    if hashes := _HASHES.findall(text):
        return str(hashes[-1]).strip()
    return None


def short_answer(text: str, *, must_be_number: bool) -> str | None:
    """Canonical short answer of a chain of thought: a number if there is one, else a short text."""
    line = final_line(text)
    if line is None:
        return last_number(text)
    if number := first_number(line.rsplit("=", 1)[-1]) or first_number(line):
        return number
    return None if must_be_number else plain_text(line)


def plain_text(text: str) -> str | None:
    """A short text without case, markup and closing punctuation; None when it is empty or prose."""
    bare = re.sub(r"\s+", " ", text.casefold()).strip(" \t.。!！,，;；:：*_`\"'“”")
    return bare if 0 < len(bare) <= LONGEST_SHORT_ANSWER else None


def first_number(text: str) -> str | None:
    """Canonical form of the first number in ``text``."""
    return next(iter(_numbers(text)), None)


def last_number(text: str) -> str | None:
    """Canonical form of the last number in ``text``."""
    found = _numbers(text)
    return found[-1] if found else None


def canonical_value(value: object) -> str | None:
    """Canonical form of what a program returned; None for nothing and for structures."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return show(Fraction(repr(value))) if value == value and abs(value) != float("inf") else None
    if isinstance(value, str):
        return first_number(value) if re.search(r"\d", value) else plain_text(value)
    if isinstance(value, list) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
        return canonical_value(value[0])  # pyright: ignore[reportUnknownArgumentType]
    return None


def same(left: str, right: str) -> bool:
    """Whether two canonical answers are one: numbers are compared at the precision of the coarser one, two decimals at least."""
    if left == right:
        return True
    if not (_is_decimal(left) and _is_decimal(right)):
        return False
    places = min(_places(left), _places(right))
    return places >= 2 and round(Fraction(left), places) == round(Fraction(right), places)


def choice_of(text: str, choices: Sequence[str]) -> str | None:
    """Which of ``choices`` a reply gives: by its words, else by its letter (A is the first); None when unclear."""
    line = final_line(text) or text.strip()
    folded = line.casefold().strip(" .。*_`\"'()（）")
    if exact := next((choice for choice in choices if choice.casefold() == folded), None):
        return exact
    named = [choice for choice in choices if re.search(rf"(?<!\w){re.escape(choice.casefold())}(?!\w)", line.casefold())]
    if len(named) == 1:
        return named[0]
    if not named and (label := _LABEL.match(line)) and (index := ord(label[1].upper()) - ord("A")) < len(choices):
        return choices[index]
    inside = [choice for choice in choices if choice.casefold() in line.casefold()]
    return inside[0] if len(inside) == 1 else None


def show(value: Fraction) -> str:
    """A number as plain decimal text, at most ten decimals, no trailing zeros."""
    if value.denominator == 1:
        return str(value.numerator)
    text = f"{float(value):.10f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def as_number(answer: str) -> int | float | None:
    """A canonical answer as a number: whole numbers as int."""
    if not _is_decimal(answer):
        return None
    value = Fraction(answer)
    return value.numerator if value.denominator == 1 else float(value)


def _numbers(text: str) -> list[str]:
    text = _LATEX_FRACTION.sub(r"\1/\2", text.replace("−", "-").replace("，", ",").replace("\\,", "").replace("$", " "))
    matches = list(_NUMBER.finditer(text))
    # Next to digits a Chinese numeral is part of a word: 一共 72 个.
    written = [match for match in matches if match["zh"] is None] or matches
    found = [_value(match) for match in written]
    return [show(value) for value in found if value is not None]


def _value(match: re.Match[str]) -> Fraction | None:
    group = match.groupdict()
    if group["d"]:
        return Fraction(group["whole"]) + Fraction(int(group["n"]), int(group["d"])) if int(group["d"]) else None
    if group["fd"]:
        return Fraction(int(group["fn"]), int(group["fd"])) if int(group["fd"]) else None
    if group["zh"]:
        return chinese_number(group["zh"])
    mantissa, _, exponent = group["arabic"].lower().partition("e")
    if exponent and abs(int(exponent)) > 30:
        return None
    value = Fraction(group["arabic"].replace(",", "")) if mantissa else None
    return value * _MYRIADS[group["scale"].strip()] if value is not None and group["scale"] else value


def chinese_number(text: str) -> Fraction | None:
    """Value of a Chinese numeral (一百零五, 三万二千, 二点五); None when it is only a unit or a malformed run."""
    whole, _, decimals = text.partition("点")
    total = section = digit = 0
    for character in whole:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _UNITS:
            section += (digit or 1) * _UNITS[character]
            digit = 0
        else:
            if total + section + digit == 0:
                return None
            total = (total + section + digit) * _MYRIADS[character] if character == "亿" else total + (section + digit) * _MYRIADS[character]
            section = digit = 0
    value = Fraction(total + section + digit)
    if decimals:
        value += Fraction(int("".join(str(_DIGITS[character]) for character in decimals)), 10 ** len(decimals))
    return value


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"-?\d+(?:\.\d+)?", text) is not None


def _places(text: str) -> int:
    return len(text.partition(".")[2])
