"""Names and types of files that others bring."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.file_names import ANY_BYTES, MAX_NAME, clean_name, distinct_name, media_type_of


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("report.csv", "report.csv"),
        ("季度 报告.xlsx", "季度 报告.xlsx"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\plan.docx", "plan.docx"),
        ("/", "file"),
        ("..", "file"),
        ("", "file"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u200bb\u2066c\U000e0041.txt", "abc.txt"),
        ("line\r\nset-cookie: a=b\x00\x1b[31m.txt", "line set-cookie: a=b[31m.txt"),
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        ("  spaced \u3000 out . ", "spaced out"),
        (".env", "env"),
        ("half \ud800.txt", "half .txt"),
    ],
)
def test_a_name_is_made_harmless(given_name: str, kept: str) -> None:
    assert clean_name(given_name) == kept


def test_a_long_name_keeps_its_ending() -> None:
    name = clean_name("长" * 500 + ".csv")
    assert (len(name), name[-5:]) == (MAX_NAME, "长.csv")


@given(st.text(max_size=400))
def test_a_clean_name_is_clean_short_and_stays_as_it_is(name: str) -> None:
    kept = clean_name(name)
    assert 1 <= len(kept) <= MAX_NAME
    assert not set(kept) & set("/\\\x00\r\n\t\u202e\u200b")
    assert kept.encode()
    assert clean_name(kept) == kept


@given(st.lists(st.sampled_from(["a.png", "a-2.png", "b", "x" * MAX_NAME, "y" * (MAX_NAME - 4) + ".csv"]), max_size=12))
def test_names_of_one_place_differ(names: list[str]) -> None:
    taken: set[str] = set()
    for name in names:
        other = distinct_name(name, taken)
        assert len(other) <= MAX_NAME
        assert other not in taken
        taken.add(other)


def test_a_second_file_of_a_name_is_numbered_before_its_ending() -> None:
    assert distinct_name("plot.png", {"plot.png"}) == "plot-2.png"
    assert distinct_name("plot.png", {"plot.png", "plot-2.png"}) == "plot-3.png"
    assert distinct_name("README", {"README"}) == "README-2"


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("a.csv", b"a,b\n1,2\n", "text/csv"),
        ("a.csv", "城市,人口\n".encode("gb18030"), "text/csv"),
        ("a.csv", "城市,人口\n".encode("utf-16"), "text/csv"),
        ("notes", b"hello", "text/plain"),
        ("a.md", b"# hi", "text/markdown"),
        ("a.pdf", b"%PDF-1.7 ...", "application/pdf"),
        ("a.csv", b"%PDF-1.7 ...", "application/pdf"),
        ("a.pdf", b"no such thing", "text/plain"),
        ("a.png", b"<script>alert(1)</script>", "text/plain"),
        ("a.html", b"\x89PNG\r\n\x1a\n....", "image/png"),
        ("a.xlsx", b"PK\x03\x04....", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.html", b"PK\x03\x04....", "application/zip"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("a.txt", b"\x00\x01\x02", ANY_BYTES),
        ("a.exe", b"MZ\x90\x00", ANY_BYTES),
    ],
)
def test_the_bytes_decide_what_a_file_is(name: str, content: bytes, media_type: str) -> None:
    assert media_type_of(name, content) == media_type


@given(st.text(string.printable, max_size=30), st.binary(max_size=64))
def test_every_file_has_a_type_of_the_usual_form(name: str, content: bytes) -> None:
    kind, _, rest = media_type_of(name, content).partition("/")
    assert kind in {"text", "application", "image"}
    assert rest
