"""Names and types of the files that a stranger's program made. Pure."""

import unicodedata
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

_LONGEST: Final = 100
_TYPES: Final = MappingProxyType({
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".py": "text/x-python",
    ".md": "text/markdown",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".xml": "application/xml",
    ".tex": "application/x-tex",
    ".zip": "application/zip",
    ".npy": "application/octet-stream",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
})
"""A fixed list, since the machine's own differs from machine to machine."""


def clean_name(name: str) -> str:
    """A name that is no path, hides nothing and shows what it is; folders become part of it. Never empty."""
    flat = "-".join(part for part in unicodedata.normalize("NFC", name).split("/") if part not in {"", ".", ".."})
    visible = "".join(char for char in flat if char == " " or (unicodedata.category(char)[0] not in "CZ" and char not in '\\:*?"<>|')).strip(" .")
    suffix = PurePosixPath(visible).suffix[:10]
    return (visible[: _LONGEST - len(suffix)] + suffix if len(visible) > _LONGEST else visible) or "file"


def media_type(name: str) -> str:
    """By the name's ending alone; whoever shows the file must not trust it."""
    return _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")
