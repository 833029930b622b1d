from collections.abc import Sequence

import pytest

from gateway.backlog import BATCH, MAX_KEPT, Backlog
from tandem.errors import StorageUnavailable


class Table:
    def __init__(self) -> None:
        self.rows: list[int] = []
        self.sizes: list[int] = []
        self.is_away = False

    async def write(self, batch: Sequence[int]) -> None:
        if self.is_away:
            raise StorageUnavailable("away")
        self.rows += batch
        self.sizes.append(len(batch))


async def test_what_could_not_be_written_is_written_in_its_order_once_the_database_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    backlog = Backlog("decisions", table.write)
    table.is_away = True
    for number in range(3):
        backlog.add([number])
        assert await backlog.flush() == []
    table.is_away = False
    backlog.add([3])
    assert await backlog.flush() == [0, 1, 2, 3] == table.rows
    assert await backlog.flush() == []
    said = capsys.readouterr().out
    assert (said.count("records_wait_for_database"), said.count("records_written_again")) == (1, 1)


async def test_a_long_outage_drops_the_oldest_and_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    backlog = Backlog("decisions", table.write)
    table.is_away = True
    backlog.add(range(MAX_KEPT + 7))
    await backlog.flush()
    table.is_away = False
    written = await backlog.flush()
    assert written == table.rows == list(range(7, MAX_KEPT + 7))
    assert max(table.sizes) == BATCH
    assert "dropped=7" in capsys.readouterr().out


async def test_a_batch_is_kept_until_it_is_written_whole() -> None:
    table = Table()

    async def once(batch: Sequence[int]) -> None:
        await table.write(batch)
        table.is_away = True

    backlog = Backlog("decisions", once)
    backlog.add(range(BATCH + 1))
    assert len(await backlog.flush()) == BATCH
    table.is_away = False
    assert await backlog.flush() == [BATCH]
