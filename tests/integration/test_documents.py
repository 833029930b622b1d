"""The tools that read a job's files, as a worker is offered them: many hostile files at once, and the worker as before."""

import asyncio
import resource
import time
from pathlib import Path

import pytest

from tandem.egress import GuardedClient
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import ToolContext
from tandem.settings import EgressSettings, Settings, ToolSettings
from tandem.testing.documents import archive_of, csv_of, docx_of, pdf_of, xlsx_of
from tandem.testing.shelves import MemoryShelf
from tools.offers import Supplies
from tools.registry import offered_tools

pytestmark = pytest.mark.integration

HOSTILE = {
    "bomb.docx": archive_of({"word/document.xml": b"<" + b"A" * 170_000_000}),
    "cut.pdf": pdf_of(["Hello"])[:200],
    "cut.docx": docx_of(["x" * 500])[:6_000],
    "locked.pdf": pdf_of(["secret"], encrypt_with="pw"),
    "noise.txt": bytes(range(256)) * 50,
}
GOOD = {
    "policy.pdf": pdf_of(["About us.", "Refunds are paid within thirty days."]),
    "sales.csv": csv_of(["region", "amount"], [["北京", 12.5], ["上海", 3]]),
    "staff.xlsx": xlsx_of({"A": [["region", "head"], ["北京", "王芳"]]}),
}


def supplies(home: Path) -> Supplies:
    settings = Settings(home=home, tools=ToolSettings(offer=["documents", "table_query", "calculator", "datetime", "sql"]))
    return Supplies(settings, GuardedClient(EgressSettings()), IdFactory(now_ms=lambda: time.time_ns() // 1_000_000))


async def test_they_are_offered_everywhere_but_for_sql_without_a_database(tmp_path: Path) -> None:
    toolbox = await offered_tools(supplies(tmp_path))
    await toolbox.close()

    assert set(toolbox) == {"documents", "table_query", "calculator", "datetime"}
    assert [offer.spec.name for offer in toolbox.offers if offer.tool is None] == ["sql"]


async def test_hostile_files_beside_good_ones_cost_the_worker_nothing(tmp_path: Path) -> None:
    toolbox = await offered_tools(supplies(tmp_path))
    context = ToolContext(TenantId("acme"), JobId("job_1"), "c1", MemoryShelf({**HOSTILE, **GOOD}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    found, joined = await asyncio.gather(
        toolbox["documents"].run({"action": "search", "query": "refund period"}, context),
        toolbox["table_query"].run({"action": "query", "query": "SELECT head, amount FROM staff JOIN sales USING (region)"}, context),
    )

    assert found.citations[0].quote == "Refunds are paid within thirty days."
    assert isinstance(found.output, dict)
    assert set(found.output["not_searched"]) == set(HOSTILE)  # type: ignore[arg-type]
    assert isinstance(joined.output, dict)
    assert joined.output["rows"] == [["王芳", 12.5]]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert not confined_children()
    await toolbox.close()


def confined_children() -> list[str]:
    children = " ".join((task / "children").read_text(encoding="ascii") for task in Path("/proc/self/task").iterdir()).split()
    commands = [Path(f"/proc/{pid}/cmdline") for pid in children]
    return [str(command) for command in commands if command.exists() and b"tools.confined.child" in command.read_bytes()]
