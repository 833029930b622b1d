"""Names of files that a stranger's program made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.sandbox.names import clean_name, media_type


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plot.png", "plot.png"),
        ("价格表.csv", "价格表.csv"),
        ("charts/2024/a.png", "charts-2024-a.png"),
        ("../../etc/passwd", "etc-passwd"),
        ("/etc/passwd", "etc-passwd"),
        ("a\x00b\n\u202egnp.exe", "abgnp.exe"),
        ("..", "file"),
        ("...", "file"),
        (".hidden", "hidden"),
        ("", "file"),
        ('con:"<>|?*.txt', "con.txt"),
        ("e\u0301.txt", "é.txt"),
    ],
)
def test_a_name_is_no_path_and_hides_nothing(name: str, expected: str) -> None:
    assert clean_name(name) == expected


def test_a_long_name_keeps_its_ending() -> None:
    assert clean_name("x" * 500 + ".csv") == "x" * 96 + ".csv"


@given(st.text())
def test_whatever_a_program_calls_its_file_the_name_is_harmless(name: str) -> None:
    clean = clean_name(name)

    assert 0 < len(clean) <= 100
    assert "/" not in clean
    assert clean not in {".", ".."}
    assert clean.isprintable()


@pytest.mark.parametrize(
    ("name", "expected"), [("a.PNG", "image/png"), ("a.csv", "text/csv"), ("a", "application/octet-stream"), ("a.exe", "application/octet-stream")]
)
def test_the_type_follows_the_ending(name: str, expected: str) -> None:
    assert media_type(name) == expected
