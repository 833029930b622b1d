"""Word documents with python-docx: headings, paragraphs, lists and tables of the body in their order. Macros are not looked at."""

import re
import zipfile
from collections.abc import Iterator, Sequence
from io import BytesIO

from docx import Document
from docx.table import Table
from docx.text.paragraph import Paragraph

from tools.confined.work import Done, Json
from tools.documents.formats.pages import Pages, check_archive, row

_PLAIN = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
_VARIANTS = re.compile(
    rb"application/vnd\.(?:ms-word\.(?:document|template)\.macroEnabled|openxmlformats-officedocument\.wordprocessingml\.template)\.main\+xml"
)
_LEVEL = re.compile(r"Heading ([1-6])$")
_TYPES = "[Content_Types].xml"


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """The text of the body; Word has no pages before it is laid out, so it is one page."""
    check_archive(parts[0])
    pages = Pages(request)
    document = Document(BytesIO(_as_document(parts[0], pages)))
    pages.add("\n\n".join(_blocks(document.iter_inner_content())))
    return pages.done("word", "the document has no text; its content may be pictures, so ask for a version with text")


def _blocks(content: Iterator[Paragraph | Table]) -> Iterator[str]:
    for block in content:
        if isinstance(block, Table):
            yield "\n".join(row([cell.text for cell in each.cells]) for each in block.rows)
        elif block.text.strip():
            yield _marked(block)


def _marked(paragraph: Paragraph) -> str:
    style = (paragraph.style.name if paragraph.style is not None else None) or ""
    if level := _LEVEL.match(style):
        return f"{'#' * int(level[1])} {paragraph.text}"
    return f"- {paragraph.text}" if style.startswith("List") else paragraph.text


def _as_document(content: bytes, pages: Pages) -> bytes:
    """python-docx takes plain documents only; a document with macros or a template differs by its declared type."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        types = archive.read(_TYPES)
        if not _VARIANTS.search(types):
            return content
        if b"macroEnabled" in types:
            pages.note("it holds macros, which were not run")
        changed = BytesIO()
        with zipfile.ZipFile(changed, "w") as copy:
            for entry in archive.infolist():
                copy.writestr(entry, _VARIANTS.sub(_PLAIN, types) if entry.filename == _TYPES else archive.read(entry))
    return changed.getvalue()
