"""Text as it may enter Tandem: well-formed Unicode without NUL."""

from typing import Annotated

from pydantic import BeforeValidator


def check_text(text: str) -> str:
    """Return ``text`` unchanged.

    Raises:
        ValueError: It holds U+0000 (PostgreSQL cannot store it) or half a surrogate pair (it has no UTF-8 form); the message gives the offset.
    """
    if (at := text.find("\x00")) >= 0:
        raise ValueError(f"holds the character U+0000 at offset {at}; remove it")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"holds half a surrogate pair, {text[error.start]!r}, at offset {error.start}; send well-formed Unicode") from None
    return text


def _check_if_text(value: object) -> object:
    return check_text(value) if isinstance(value, str) else value


TextCheck = BeforeValidator(_check_if_text)
"""Runs before pydantic's own check, whose message for malformed Unicode names no offset."""
CleanText = Annotated[str, TextCheck]
