"""What every ``ToolBoard`` must do: show what each worker said last. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from tandem.ports import Storage
from tandem.schemas.tools import ToolExample, ToolReport, ToolSpec, ToolState

HOUR_S: Final = 3_600.0
LONG_AGO: Final = datetime(1999, 1, 1, tzinfo=UTC)


def reported(name: str = "calculator", state: ToolState = "offered", reason: str = "") -> ToolReport:
    """What a worker says of a tool; name and time of the worker are for the board to set."""
    spec = ToolSpec(
        name=name,
        description="Rechnet 计算。",
        parameters={"type": "object", "properties": {"expression": {"type": "string"}}, "additionalProperties": False},
        side_effect="pure",
        timeout_s=2.5,
        needs=["sandbox"],
        examples=[ToolExample(arguments={"expression": "1 + 1"})],
    )
    return ToolReport(spec=spec, state=state, reason=reason, worker="", seen_at=LONG_AGO)


class ToolBoardConformance:
    """Reports of workers."""

    async def test_a_report_reads_back_with_its_worker_and_the_time_of_the_database(self, storage: Storage) -> None:
        new = reported(state="unavailable", reason="no bubblewrap\x00 \ud800 here")
        await storage.tools.report("host-1", [new])
        (report,) = await storage.tools.read(HOUR_S)
        assert (report.spec, report.state, report.worker) == (new.spec, "unavailable", "host-1")
        assert report.reason == "no bubblewrap ? here"
        assert report.seen_at > LONG_AGO

    async def test_a_worker_replaces_what_it_said_and_only_that(self, storage: Storage) -> None:
        await storage.tools.report("host-1", [reported("calculator"), reported("python")])
        await storage.tools.report("host-2", [reported("python")])
        await storage.tools.report("host-1", [reported("web_fetch"), reported("python", "unavailable", "gone")])
        seen = [(report.spec.name, report.worker, report.state) for report in await storage.tools.read(HOUR_S)]
        assert seen == [("python", "host-1", "unavailable"), ("python", "host-2", "offered"), ("web_fetch", "host-1", "offered")]
        await storage.tools.report("host-1", [])
        assert [report.worker for report in await storage.tools.read(HOUR_S)] == ["host-2"]

    async def test_old_words_are_left_out(self, storage: Storage) -> None:
        await storage.tools.report("host-1", [reported()])
        await asyncio.sleep(0.02)
        assert not await storage.tools.read(0.01)
        assert await storage.tools.read(HOUR_S)

    async def test_two_processes_of_a_host_may_speak_at_once(self, peers: Sequence[Storage]) -> None:
        names = [f"tool_{number}" for number in range(9)]
        await asyncio.gather(*(peer.tools.report("host-1", [reported(name) for name in names]) for peer in peers for _ in range(3)))
        assert [report.spec.name for report in await peers[0].tools.read(HOUR_S)] == names
