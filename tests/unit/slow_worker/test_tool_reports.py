"""What a worker says of its tools, from a thread of its own, on a real database."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from slow_worker.tool_reports import ToolReporter, reports_of
from tandem.errors import StorageUnavailable
from tandem.ports import Storage
from tandem.schemas.tools import ToolReport, ToolSpec
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.testing.clock import FakeClock
from tools.offers import Offer

NOW = datetime(2026, 12, 1, tzinfo=UTC)
FRESH_S = 60


def offer(name: str, reason: str = "") -> Offer:
    spec = ToolSpec(name=name, description="x", parameters={"type": "object"}, side_effect="pure", timeout_s=1)
    return Offer(spec, None if reason else cast("Any", object()), reason)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncGenerator[Storage]:
    opened = open_storage(Settings(home=tmp_path))
    await opened.migrate()
    yield opened
    await opened.close()


async def said(storage: Storage, enough: int) -> Sequence[ToolReport]:
    async with asyncio.timeout(20):
        while len(reports := await storage.tools.read(FRESH_S)) != enough:
            await asyncio.sleep(0.01)
    return reports


def test_what_is_missing_is_told_with_its_reason_and_a_name_once() -> None:
    reports = reports_of([offer("a", "no key"), offer("b"), offer("a", "another reason")], "host", NOW)
    assert [(each.spec.name, each.state, each.reason, each.worker) for each in reports] == [
        ("a", "unavailable", "another reason", "host"),
        ("b", "offered", "", "host"),
    ]


async def test_a_worker_reports_at_once_and_again_what_has_changed(storage: Storage, tmp_path: Path) -> None:
    offers = [offer("python")]
    reporter = ToolReporter(lambda: open_storage(Settings(home=tmp_path)), lambda: offers, "host", FakeClock(), every_s=0.01)
    reporter.start()
    try:
        assert [each.spec.name for each in await said(storage, 1)] == ["python"]
        offers = [offer("python"), offer("sql", "no file")]
        assert [(each.spec.name, each.state) for each in await said(storage, 2)] == [("python", "offered"), ("sql", "unavailable")]
    finally:
        await asyncio.to_thread(reporter.stop)


async def test_a_database_that_is_away_is_tried_again(storage: Storage, tmp_path: Path) -> None:
    away = [True, True]

    def opened() -> Storage:
        if away:
            away.pop()
            raise StorageUnavailable("away")
        return open_storage(Settings(home=tmp_path))

    reporter = ToolReporter(opened, lambda: [offer("python")], "host", FakeClock(), every_s=0.01)
    reporter.start()
    try:
        assert len(await said(storage, 1)) == 1
    finally:
        await asyncio.to_thread(reporter.stop)


async def test_a_defect_in_one_report_does_not_end_the_others(storage: Storage, tmp_path: Path) -> None:
    broken = [True]

    def offers() -> Sequence[Offer]:
        if broken:
            broken.pop()
            raise ValueError("defect")
        return [offer("python")]

    reporter = ToolReporter(lambda: open_storage(Settings(home=tmp_path)), offers, "host", FakeClock(), every_s=0.01)
    reporter.start()
    try:
        assert len(await said(storage, 1)) == 1
    finally:
        await asyncio.to_thread(reporter.stop)


def test_a_reporter_that_waits_for_its_next_turn_stops_at_once(tmp_path: Path) -> None:
    class Away:
        def __call__(self) -> Storage:
            raise StorageUnavailable("away")

    reporter = ToolReporter(Away(), list, "host", FakeClock(), every_s=3_600)
    reporter.start()
    reporter.stop()
    assert "tool-reports" not in {thread.name for thread in threading.enumerate()}
