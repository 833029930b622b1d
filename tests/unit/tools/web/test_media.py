"""What an answer is, by its header and its bytes."""

import pytest

from tools.confined.work import WorkRefused
from tools.web.media import charset_of, kind_of

HTML = b"<!doctype html><p>x"


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("text/html; charset=gbk", HTML, "html"),
        ("TEXT/HTML", b"", "html"),
        ("application/xhtml+xml", HTML, "html"),
        ("text/plain", HTML, "text"),
        ("text/markdown; charset=utf-8", b"# x", "text"),
        ("application/json", b"{}", "json"),
        ("application/ld+json", b"{}", "json"),
        ("application/rss+xml", b"<rss/>", "xml"),
        ("text/xml", b"<a/>", "xml"),
        ("application/pdf", b"%PDF-1.7", "pdf"),
        ("application/octet-stream", b"%PDF-1.7", "pdf"),
        ("text/html", b"%PDF-1.7", "pdf"),
        (None, b"  <html>", "html"),
        (None, b"<?xml version='1.0'?><a/>", "xml"),
        (None, b' {"a": 1}', "json"),
        (None, b"words", "text"),
        ("text/plain", "\ufeffx中".encode("utf-16"), "text"),
    ],
)
def test_what_is_listed_is_read(content_type: str | None, body: bytes, kind: str) -> None:
    assert kind_of(content_type, body) == kind


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/png", b"\x89PNG\r\n"),
        ("image/png", HTML),
        ("image/svg+xml", b"<svg/>"),
        ("text/html", b"\x89PNG\r\n\x1a\n"),
        ("text/html", b"PK\x03\x04zip"),
        ("application/json", b"\x1f\x8b\x08"),
        ("text/plain", b"MZ\x90\x00\x03"),
        ("text/plain", b"abc\x00def"),
        ("application/octet-stream", HTML),
        ("application/zip", b"PK\x03\x04"),
        ("video/mp4", b"...."),
        ("application/javascript", b"alert(1)"),
        ("application/pdf", b"not a pdf"),
        ("image/png", b"%PDF-1.7"),
        (None, b"\x7fELF"),
        ("garbage", b"x"),
        ("; charset=utf-8", b"\x00"),
    ],
)
def test_anything_else_is_refused_with_what_is_read(content_type: str | None, body: bytes) -> None:
    with pytest.raises(WorkRefused, match="look for a page") as raised:
        kind_of(content_type, body)
    assert raised.value.code == "unsupported_content"


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [("text/html; charset=gbk", "gbk"), ('text/html;Charset = "UTF-8"', "UTF-8"), ("text/html", None), (None, None), ("text/html; charset=", None)],
)
def test_the_charset_of_a_header_is_found(content_type: str | None, charset: str | None) -> None:
    assert charset_of(content_type) == charset
