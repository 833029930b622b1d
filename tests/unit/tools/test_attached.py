"""Which of a job's files a program gets."""

from tandem.testing.shelves import MemoryShelf
from tools.attached import MOST_FILES, files_for

SHELF = MemoryShelf({"sales.csv": b"a\n1\n", "销量.csv": b"b\n2\n", "notes.txt": b"n"})


async def test_the_files_that_a_call_lists_are_brought_and_no_others() -> None:
    assert await files_for("open('sales.csv')", {"files": ["notes.txt"]}, SHELF) == ["notes.txt"]
    assert await files_for("open('sales.csv')", {"files": []}, SHELF) == []


async def test_without_a_list_those_that_the_program_names_are_brought() -> None:
    assert await files_for("a = open('sales.csv')\nb = open(\"销量.csv\")", {}, SHELF) == ["sales.csv", "销量.csv"]
    assert await files_for("6 * 7", {}, SHELF) == []


async def test_no_program_gets_more_files_than_a_call_may_list() -> None:
    many = {f"f{number:02}.txt": b"x" for number in range(40)}
    assert len(await files_for(" ".join(many), {}, MemoryShelf(many))) == MOST_FILES
