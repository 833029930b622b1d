"""Prompts that are kept for training: the ask's head and tail, without what points to a person or opens a door. Pure.

Masked: mail addresses, telephone and card numbers, long runs of digits, keys and tokens (by their usual beginnings, as the value of a named secret,
or as a long run of letters and digits), private-key blocks. Not masked: names, postal addresses, and whatever a user says in plain words: a log of
prompts stays personal data.
"""

import re
from typing import Final

HEAD_CHARS: Final = 600
TAIL_CHARS: Final = 300
"""What the router itself reads of a message."""
MARGIN_CHARS: Final = 1_000
"""Redacted beyond the cut, so that the cut halves nothing that would then not be recognised."""

_BLOCK: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{3,40}-----.*?(?:-----END [A-Z0-9 ]{3,40}-----|$)", re.DOTALL)
_NAMED: Final = re.compile(
    r"(?i)(?P<name>(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_ -]?key|access[_ -]?key|密码|口令|密钥|令牌)"
    r"\s{0,3}(?:[:=：]|\bis\b|是|为)\s{0,3})"
    r"(?P<value>[\"'“「]?[^\s\"'”」,，。;；]{4,})"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_KEY: Final = re.compile(r"\b(?:sk|pk|rk|tdm|hf|gh[opsur]|github_pat|glpat|xox[abeprs]|whsec|AKIA|ASIA|AIza|eyJ)[-_A-Za-z0-9.]{10,}")
_OPAQUE: Final = re.compile(r"(?<![\w+/=-])(?=[\w+/=-]{0,200}\d)(?=[\w+/=-]{0,200}[A-Za-z])[A-Za-z0-9_+/=-]{28,}")
_MAIL: Final = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_PHONE: Final = re.compile(r"(?<![\w.])\+?\(?\d(?:[ \t().-]{0,2}\d){8,18}(?!\w)")
_DIGITS: Final = re.compile(r"\d{7,}")
_HALF_AT_END: Final = re.compile(r"(?:\S+|[\d \t().-]+)\Z")
_HALF_AT_START: Final = re.compile(r"\A(?:[\d \t().-]+|\S+)")
_MASKS: Final = (
    (_BLOCK, "[key]"),
    (_NAMED, r"\g<name>[secret]"),
    (_BEARER, r"\1 [secret]"),
    (_MAIL, "[mail]"),
    (_KEY, "[key]"),
    (_OPAQUE, "[key]"),
    (_PHONE, "[number]"),
    (_DIGITS, "[number]"),
)


def excerpt(text: str) -> str:
    """What ``redact`` needs of a message: cheap, on the request's way; a message is not kept whole until it is written."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS + 2 * MARGIN_CHARS:
        return text
    head = _HALF_AT_END.sub("", text[: HEAD_CHARS + MARGIN_CHARS])
    return f"{head}\n{_HALF_AT_START.sub('', text[-TAIL_CHARS - MARGIN_CHARS :])}"


def redact(text: str) -> str:
    """Head and tail of an excerpt, masked."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text if len(text) <= HEAD_CHARS + TAIL_CHARS else f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
