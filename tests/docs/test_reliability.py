"""Every test that the reliability page names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:tests|tandem)/[\w/]+\.py(?:::\w+)?)`", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_the_page_names_exists(name: str) -> None:
    path, _, test = name.partition("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^\s*(?:async )?def {test or 'test_'}", text, re.MULTILINE)


def test_every_row_of_the_fault_table_is_there_and_has_a_test() -> None:
    table = PAGE.partition("## The 28 rows")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", table, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 29))
    assert all("`tests/" in tests for _, tests in rows)


def test_every_chaos_test_is_on_the_page() -> None:
    for path in sorted((ROOT / "tests" / "chaos").glob("test_*.py")):
        for name in re.findall(r"^async def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"`tests/chaos/{path.name}::{name}`" in PAGE, name
