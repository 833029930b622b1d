"""Finding code and JSON in what a model wrote, fenced or not, closed or not. Pure text work."""

import re
from typing import Final

_BLOCK: Final = re.compile(r"```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_PYTHON_NAMES: Final = frozenset({"", "python", "py", "python3"})


def code_block(text: str) -> str | None:
    """The longest fenced block of a reply; without a fence, the reply from its first ``def`` or ``import`` on."""
    if blocks := _blocks(text):
        return max((body for _, body in blocks), key=len).strip("\n") or None
    found = re.search(r"^(?:def |import |from )", text, re.MULTILINE)
    return text[found.start() :].strip("\n") if found else None


def fenced_json(text: str) -> str:
    """The part of a reply that should be JSON: a fenced block, else from the first bracket to the last, else the whole."""
    if blocks := _blocks(text):
        return max((body for _, body in blocks), key=len).strip()
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    end = max(text.rfind("}"), text.rfind("]"))
    return text[start : end + 1] if 0 <= start < end else text.strip()


def is_python(code: str, reply: str) -> bool:
    """Whether a block is meant as Python: its fence says so, or says nothing and the code looks like it."""
    language = next((name.casefold() for name, body in _blocks(reply) if body.strip("\n") == code), "")
    if language:
        return language in _PYTHON_NAMES
    return re.search(r"^(?:def |import |from |class |print\()", code, re.MULTILINE) is not None


def _blocks(text: str) -> list[tuple[str, str]]:
    return [(str(name), str(body)) for name, body in _BLOCK.findall(text)]
