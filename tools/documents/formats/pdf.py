"""PDF with pypdf, in pure Python: the text layer, page by page. Reads no picture: a scan has no text."""

from collections.abc import Sequence
from io import BytesIO

from pypdf import PdfReader
from pypdf.errors import PdfReadError

from tools.confined.work import Done, Json, WorkRefused
from tools.documents.formats.pages import Pages


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """The text of each page; a page that cannot be read is empty and noted, the others stay."""
    reader = _opened(parts[0])
    pages = Pages(request)
    count = len(reader.pages)
    unread: list[str] = []
    for number in range(count):
        try:
            text = reader.pages[number].extract_text()
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - pypdf raises nearly anything on a damaged page, and the next one may be whole
            unread.append(str(number + 1))
            text = ""
        if not pages.add(text):
            break
    if unread:
        pages.note(f"pages that could not be read: {', '.join(unread[:20])}")
    return pages.done("pdf", f"none of its {count} pages has a text layer; it is probably a scan, so ask for a version with text")


def _opened(content: bytes) -> PdfReader:
    try:
        reader = PdfReader(BytesIO(content), strict=False)
    except PdfReadError as error:
        raise WorkRefused("unreadable", f"it is damaged or cut off ({str(error)[:120]}); ask for a whole copy") from None
    if reader.is_encrypted and not reader.decrypt(""):
        raise WorkRefused("encrypted", "it is protected with a password; ask for a copy without one")
    return reader
