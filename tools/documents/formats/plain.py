"""Text, Markdown, CSV and JSON: the characters as they are."""

import json
from collections.abc import Sequence
from contextlib import suppress

from tools.confined.work import Done, Json
from tools.documents.formats.decoding import decoded
from tools.documents.formats.pages import Pages


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """The text as one page. JSON without line breaks gets some, or nobody could read a part of it."""
    text, encoding = decoded(parts[0])
    pages = Pages(request)
    if encoding not in {"utf-8", "utf-8-sig"}:
        pages.note(f"decoded as {encoding}")
    if request["kind"] == "json" and "\n" not in text.strip():
        with suppress(ValueError):
            text = json.dumps(json.loads(text), ensure_ascii=False, indent=1)
    pages.add(text)
    return pages.done(request["kind"], "the file has no text")
