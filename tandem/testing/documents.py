"""Small documents of every format, made in memory, for tests and benchmarks."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO

_PDF_HEAD = b"%PDF-1.7\n"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"


def pdf_of(pages: Sequence[str], *, encrypt_with: str | None = None) -> bytes:
    """A PDF with one line of text per line of a page; any characters, by a font whose codes are UTF-16 with a map back to them."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    first = 6
    kids = " ".join(f"{first + 2 * index} 0 R" for index in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type0 /BaseFont /F /Encoding /Identity-H /DescendantFonts [4 0 R] /ToUnicode 5 0 R >>")
    objects.append(
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /F /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /DW 600 >>"
    )
    objects.append(_stream(_to_unicode("".join(pages))))
    for index, page in enumerate(pages):
        content = first + 2 * index + 1
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F 3 0 R >> >> /Contents {content} 0 R >>".encode()
        )
        lines = "".join(f"<{line.encode('utf-16-be').hex()}> Tj 0 -14 Td\n" for line in page.split("\n"))
        objects.append(_stream(f"BT /F 11 Tf 50 740 Td\n{lines}ET".encode()))
    plain = _assembled(objects)
    return _encrypted(plain, encrypt_with) if encrypt_with else plain


def docx_of(paragraphs: Sequence[str], *, table: Sequence[Sequence[str]] = (), has_macros: bool = False) -> bytes:
    """A Word document; a paragraph that begins with ``# `` is a heading."""
    from docx import Document  # noqa: PLC0415 - of the `tools` extra, which not everybody who tests has

    document = Document()
    for paragraph in paragraphs:
        if paragraph.startswith("# "):
            document.add_heading(paragraph[2:], 1)
        else:
            document.add_paragraph(paragraph)
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for row, cells in zip(grid.rows, table, strict=True):
            for cell, text in zip(row.cells, cells, strict=True):
                cell.text = text
    stream = BytesIO()
    document.save(stream)
    return _with_macros(stream.getvalue()) if has_macros else stream.getvalue()


def xlsx_of(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """A workbook."""
    from openpyxl import Workbook  # noqa: PLC0415 - of the `tools` extra

    book = Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    stream = BytesIO()
    book.save(stream)
    return stream.getvalue()


def pptx_of(slides: Sequence[tuple[str, str]], *, notes: str = "") -> bytes:
    """Slides with a title and a text each; the notes go to the first."""
    from pptx import Presentation  # noqa: PLC0415 - of the `tools` extra

    deck = Presentation()
    for title, text in slides:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        for placeholder, words in zip(slide.placeholders, (title, text), strict=False):
            placeholder.text_frame.text = words  # pyright: ignore[reportAttributeAccessIssue] - python-pptx types a placeholder as any shape
    if notes and (frame := deck.slides[0].notes_slide.notes_text_frame) is not None:
        frame.text = notes
    stream = BytesIO()
    deck.save(stream)
    return stream.getvalue()


def archive_of(entries: Mapping[str, bytes]) -> bytes:
    """A zip archive, compressed."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def csv_of(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV with every text quoted as JSON would where it needs to be."""
    return "\n".join(
        ",".join(str(cell) if "," not in str(cell) else json.dumps(str(cell), ensure_ascii=False) for cell in row) for row in (columns, *rows)
    )


def _to_unicode(text: str) -> bytes:
    codes = sorted({each.encode("utf-16-be").hex() for each in text})
    pairs = "".join(f"<{code}> <{code}>\n" for code in codes if len(code) == 4)
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /U def /CMapType 2 def\n"
        f"1 begincodespacerange <0000> <FFFF> endcodespacerange\n{len(codes)} beginbfchar\n{pairs}endbfchar\n"
        "endcmap CMapName currentdict /CMap defineresource pop end end"
    ).encode()


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n" % len(content) + content + b"\nendstream"


def _assembled(objects: Sequence[bytes]) -> bytes:
    content, offsets = bytearray(_PDF_HEAD), list[int]()
    for number, each in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n" % number + each + b"\nendobj\n"
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    content += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    content += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(content)


def _encrypted(content: bytes, password: str) -> bytes:
    from pypdf import PdfReader, PdfWriter  # noqa: PLC0415 - of the `tools` extra

    writer = PdfWriter(clone_from=PdfReader(BytesIO(content)))
    writer.encrypt(password, algorithm="AES-256")
    stream = BytesIO()
    writer.write(stream)
    return stream.getvalue()


def _with_macros(content: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    types = entries["[Content_Types].xml"].replace(
        b"vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml", b"vnd.ms-word.document.macroEnabled.main+xml"
    )
    return archive_of({**entries, "[Content_Types].xml": types, "word/vbaProject.bin": b"\xd0\xcf\x11\xe0 not run"})
