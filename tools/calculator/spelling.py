"""How people write calculations, to one spelling: full-width digits, Chinese operators and units, percentages, numbers followed by units."""

import re
import unicodedata
from typing import Final

from tools.confined.work import WorkRefused

_NUMBER: Final = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+"
_SYMBOLS: Final = str.maketrans({
    "×": "*",
    "✕": "*",
    "·": "*",
    "⋅": "*",
    "÷": "/",
    "−": "-",
    "–": "-",
    "^": "**",
    "²": "**2",
    "³": "**3",
    "√": " sqrt ",
})
_WORDS: Final = (
    ("乘以", "*"),
    ("除以", "/"),
    ("加上", "+"),
    ("减去", "-"),
    ("乘", "*"),
    ("加", "+"),
    ("减", "-"),
    ("的", "*"),
    ("平方米", " m**2 "),
    ("立方米", " m**3 "),
    ("摄氏度", " degC "),
    ("华氏度", " degF "),
    ("公里", " km "),
    ("千米", " km "),
    ("厘米", " cm "),
    ("毫米", " mm "),
    ("英里", " mile "),
    ("英尺", " foot "),
    ("英寸", " inch "),
    ("米", " m "),
    ("公斤", " kg "),
    ("千克", " kg "),
    ("毫克", " mg "),
    ("克", " g "),
    ("斤", " jin "),
    ("吨", " tonne "),
    ("磅", " pound "),
    ("小时", " hour "),
    ("分钟", " minute "),
    ("秒", " second "),
    ("天", " day "),
    ("毫升", " mL "),
    ("升", " L "),
    ("公顷", " hectare "),
    ("亩", " mu_area "),
    ("每", "/"),
)
_TARGET: Final = re.compile(r"\s(?:in|to|into|as)\s|->|→|换算成|换算为|转换成|转换为|转成|化成|等于多少")
_GROUPS: Final = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")
_MYRIADS: Final = re.compile(rf"({_NUMBER})\s*([万亿])")
_PERCENT: Final = re.compile(rf"({_NUMBER})\s*%(?=\s*(?:$|[-+*/),]|of\b))")
_ADDED_PERCENT: Final = re.compile(rf"[+-]\s*(?:{_NUMBER})\s*%")
_WITH_UNIT: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)\s*([A-Za-z_]\w*)(?!\w*\s*\()(?:\s*\*\*\s*(-?\d{1,2}))?")
_DEGREES: Final = (("℃", " degC "), ("℉", " degF "), ("°C", " degC "), ("°F", " degF "), ("°", " degree "), ("µ", "u"), ("μ", "u"))
_ROOT: Final = re.compile(rf"sqrt\s+({_NUMBER}|\()")
_NO_UNIT: Final = frozenset({"of", "mod", "if", "else", "and", "or", "not"})


def in_one_spelling(expression: str) -> tuple[str, str]:
    """The calculation as the evaluator reads it, and the unit it is wanted in (empty when none is).

    Raises:
        WorkRefused: It can be read in two ways.
    """
    text = expression
    for sign, instead in _DEGREES:
        text = text.replace(sign, instead)
    text = unicodedata.normalize("NFKC", text.translate(_SYMBOLS)).translate(_SYMBOLS).strip().rstrip("=? ")
    text, target = _split(text)
    if "(" not in text:
        text = _GROUPS.sub(lambda found: found[0].replace(",", ""), text)
    text = _MYRIADS.sub(lambda found: f"({found[1]}*{10**4 if found[2] == '万' else 10**8})", text)
    text, target = _words(text), _words(target)
    text = re.sub(r"\bof\b", "*", _percent(text))
    text = _ROOT.sub(lambda found: "sqrt(" if found[1] == "(" else f"sqrt({found[1]})", text)
    return _WITH_UNIT.sub(_quantity, text).strip(), target.strip()


def _split(text: str) -> tuple[str, str]:
    *before, target = _TARGET.split(f" {text} ")
    return (" ".join(before).strip(), target.strip()) if before else (text, "")


def _words(text: str) -> str:
    for word, instead in _WORDS:
        text = text.replace(word, instead)
    return text


def _percent(text: str) -> str:
    if _ADDED_PERCENT.search(text) and re.search(rf"(?<![\w.])(?:{_NUMBER})(?![\w.]|\s*%)", text):
        raise WorkRefused("ambiguous", "adding a percentage can mean two things; write 80 * (1 + 15%) for 15 % more, or 80 + 0.15 for the number")
    return _PERCENT.sub(r"(\1/100)", text)


def _quantity(found: "re.Match[str]") -> str:
    if found[2] in _NO_UNIT:
        return found[0]
    return f"q({found[1]}, '{found[2]}', {found[3] or 1})"
