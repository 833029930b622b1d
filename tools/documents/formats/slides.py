"""Slides with python-pptx: one page per slide, its shapes, tables and notes. Macros are not looked at."""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO

from pptx import Presentation
from pptx.shapes.base import BaseShape
from pptx.shapes.graphfrm import GraphicFrame
from pptx.shapes.group import GroupShape

from tools.confined.work import Done, Json
from tools.documents.formats.pages import Pages, check_archive, row

_DEEPEST_GROUP = 8


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """The text of each slide."""
    check_archive(parts[0])
    pages = Pages(request)
    for slide in Presentation(BytesIO(parts[0])).slides:
        texts = list(_texts(slide.shapes))
        if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None and frame.text.strip():
            texts.append(f"Notes: {frame.text}")
        if not pages.add("\n\n".join(texts)):
            break
    return pages.done("slides", "the slides have no text; their content may be pictures, so ask for a version with text")


def _texts(shapes: Iterable[BaseShape], depth: int = 0) -> Iterator[str]:
    for shape in shapes:
        if isinstance(shape, GroupShape) and depth < _DEEPEST_GROUP:
            yield from _texts(shape.shapes, depth + 1)
        elif isinstance(shape, GraphicFrame) and shape.has_table:
            yield "\n".join(row([cell.text for cell in each.cells]) for each in shape.table.rows)
        elif shape.has_text_frame and (text := str(getattr(shape, "text", "")).strip()):
            yield text
