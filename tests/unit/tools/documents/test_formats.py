"""Files of every format to text, and hostile ones to an error the model can act on."""

import pytest

from tandem.testing.documents import archive_of, docx_of, pdf_of, pptx_of, xlsx_of
from tools.confined.process import Confinement
from tools.confined.work import Limits, WorkRefused
from tools.documents.formats.pages import Pages
from tools.documents.parsing import Extracted, extract

QUICK = Limits(seconds=10)
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PAGE = """<!doctype html><html><head><title>no</title><style>no</style></head><body><h1>Refunds</h1>
<p>Within <b>thirty</b> days.</p><!-- no --><p style="display: none">no</p><div hidden>no <p>no</p></div><span style="font-size:0">no</span>
<p style="font-size:0.9em">small</p><script>no()</script><table><tr><td>a</td><td>退款</td></tr></table><ul><li>x<li>y</ul></body></html>"""


async def read(name: str, content: bytes, media_type: str = "", limits: Limits = QUICK) -> Extracted:
    return await extract(name, media_type, content, Confinement(), limits)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.md", "# 标题\r\n\r\ntext".encode(), "# 标题\n\ntext"),
        ("a.csv", b"a,b\n1,2\n", "a,b\n1,2"),
        ("a.json", '{"价格":[1,2]}'.encode(), '{\n "价格": [\n  1,\n  2\n ]\n}'),
        ("broken.json", b'{"a":', '{"a":'),
        ("gbk.txt", "退款政策：收货后三十天内可以申请退款。".encode("gbk"), "退款政策：收货后三十天内可以申请退款。"),
        ("big5.txt", "這是繁體中文的文件，內容關於退款。".encode("big5"), "這是繁體中文的文件，內容關於退款。"),
        ("utf16.txt", "hello 世界".encode("utf-16"), "hello 世界"),
        ("utf16le.txt", "hello world".encode("utf-16-le"), "hello world"),
        ("utf32.txt", "hello 世界".encode("utf-32"), "hello 世界"),
        ("latin.txt", "déjà vu".encode("latin-1"), "déjà vu"),
        ("bom.txt", "\ufeffhello".encode(), "hello"),
        ("hidden.txt", "pay\u202e \u200bnow\x1b[31m\U000e0041".encode(), "pay now[31m"),
        ("a.docx", docx_of(["# 标题", "body"], table=[["a", "b"], ["1", "2"]]), "# 标题\n\nbody\n\na | b\n1 | 2"),
        ("a.xlsx", xlsx_of({"Sales": [["region", "amount"], ["北京", 12.5], [None, 3]]}), "# Sales\n\nregion | amount\n北京 | 12.5\n | 3"),
        ("a.pptx", pptx_of([("T", "body"), ("二", "正文")], notes="say"), "T\n\nbody\n\nNotes: say\n\n二\n\n正文"),
        ("a.pdf", pdf_of(["Hello world", "第二页"]), "Hello world\n\n第二页"),
        ("wrong.txt", pdf_of(["Hello"]), "Hello"),
        ("wrong.pdf", b"plain words", "plain words"),
    ],
)
async def test_a_file_becomes_its_text(name: str, content: bytes, text: str) -> None:
    assert (await read(name, content)).text == text


async def test_only_what_a_reader_would_see_of_a_page_is_read() -> None:
    text = (await read("a.html", PAGE.encode())).text

    assert "no" not in text
    assert text == "# Refunds\n\nWithin thirty days.\n\nsmall\n\n| a | 退款\n\n- x\n- y"


async def test_a_page_in_a_declared_charset_is_decoded_by_it() -> None:
    page = "<html><meta charset='gb2312'><body>退款</body></html>".encode("gb2312")

    assert (await read("a.html", page)).text == "退款"


async def test_pages_sheets_and_slides_have_their_places() -> None:
    pdf, book = await read("a.pdf", pdf_of(["one", "", "three"])), await read("b.xlsx", xlsx_of({"A": [[1]], "二": [[2]]}))

    assert [pdf.text[page.start : page.end] for page in pdf.pages] == ["one", "", "three"]
    assert pdf.page_at(pdf.text.index("three")) == 3
    assert [page.label for page in book.pages] == ["A", "二"]


async def test_macros_are_noted_and_not_looked_at() -> None:
    document = await read("m.docm", docx_of(["words"], has_macros=True))

    assert document.text == "words"
    assert "macros" in document.notes[0]


def test_a_document_without_end_gives_what_the_time_and_the_length_allow() -> None:
    late, long = Pages({"max_chars": 100, "seconds": 0}), Pages({"max_chars": 4, "seconds": 60})

    assert [late.add("one"), long.add("one"), long.add("two")] == [False, True, False]
    assert [pages.done("text", "").answer["text"] for pages in (late, long)] == ["one", "one\n\nt"]
    assert [pages.done("text", "").answer["is_truncated"] for pages in (late, long)] == [True, True]


async def test_a_pdf_with_ten_thousand_pages_is_read_in_part_or_refused_in_time() -> None:
    try:
        document = await read("long.pdf", pdf_of([f"page {n}" for n in range(10_000)]), limits=Limits(seconds=5))
    except WorkRefused as error:
        # A busy machine may not even have found the pages by then.
        assert error.code == "timeout"  # noqa: PT017 - either is right
    else:
        assert document.text.startswith("page 0")


async def test_a_pdf_whose_pages_go_in_a_circle_ends() -> None:
    circle = pdf_of(["Hello"]).replace(b"/Kids [6 0 R]", b"/Kids [2 0 R]")

    with pytest.raises(WorkRefused):
        await read("circle.pdf", circle)


LAUGHS = (
    b"<!DOCTYPE l [<!ENTITY a 'lollollol'>"
    + b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
    + b"]><w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body><w:p><w:r><w:t>&m;</w:t></w:r></w:p></w:body></w:document>"
)
QUADRATIC = LAUGHS[: LAUGHS.index(b"<!ENTITY b")].replace(b"lollollol", b"x" * 100_000) + b"]><w:document>" + b"&a;" * 50_000 + b"</w:document>"


def word_with(body: bytes) -> bytes:
    types = b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'  # noqa: E501
    links = b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>'  # noqa: E501
    return archive_of({"[Content_Types].xml": types, "_rels/.rels": links, "word/document.xml": body})


def sheet_with(body: bytes) -> bytes:
    plain = xlsx_of({"A": [[1]]})
    assert b"xl/workbook" in plain
    return archive_of({"xl/workbook.xml": body, "[Content_Types].xml": body, "_rels/.rels": body})


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("empty.txt", b"", "empty", "content"),
        ("blank.txt", b" \n\t ", "empty", "content"),
        ("locked.pdf", pdf_of(["secret"], encrypt_with="pw"), "encrypted", "without one"),
        ("locked.docx", OLD_OFFICE + "EncryptedPackage".encode("utf-16-le"), "encrypted", "without one"),
        ("old.doc", OLD_OFFICE + bytes(600), "unsupported", "docx"),
        ("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "unsupported", "image"),
        ("photo.pdf", b"\x89PNG\r\n\x1a\n" + bytes(50), "unsupported", "image"),
        ("run.txt", b"\x7fELF" + bytes(range(256)), "unsupported", "program"),
        ("noise.txt", bytes(range(256)) * 20, "unsupported", "no text"),
        ("files.zip", archive_of({"a.txt": b"a"}), "unsupported", "one by one"),
        ("scan.pdf", pdf_of(["", ""]), "no_text", "scan"),
        ("script.html", b"<html><body><script>draw()</script></body></html>", "no_text", "JavaScript"),
        ("cut.docx", docx_of(["x" * 500])[:6_000], "unreadable", "whole copy"),
        ("cut.xlsx", xlsx_of({"A": [[1]]})[:1_500], "unreadable", "whole copy"),
        ("cut.pdf", pdf_of(["Hello"])[:200], "unreadable", "damaged"),
        ("only-a-mark.pdf", b"%PDF-1.7\n", "unreadable", "damaged"),
        ("bomb.docx", word_with(b"<" + b"A" * 170_000_000), "too_large", "smaller"),
        ("laughs.docx", word_with(LAUGHS), "unreadable", "damaged"),
        ("quadratic.docx", word_with(QUADRATIC), "unreadable", "damaged"),
        ("laughs.xlsx", sheet_with(LAUGHS), "unreadable", "damaged"),
        ("deep.docx", word_with(b"<w>" * 100_000), "unreadable", "damaged"),
    ],
)
async def test_a_hostile_or_useless_file_is_an_error_the_model_can_act_on(name: str, content: bytes, code: str, says: str) -> None:
    with pytest.raises(WorkRefused) as raised:
        await read(name, content)

    assert (raised.value.code, says in raised.value.message) == (code, True), raised.value.message
