"""What the workers' tools are, as each worker said last. The promises are those of ``ToolBoard``.

A worker that died stays on the board until its words are too old for the reader; retention sweeps them a day later.
"""

from collections.abc import Sequence

from pydantic import ValidationError
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.schemas.tools import ToolReport, ToolSpec
from tandem.storage.engine import Database
from tandem.storage.tables import tool_reports
from tandem.storage.times import db_now, to_datetime


class SqlToolBoard:
    """Implements ``ToolBoard``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, worker: str, reports: Sequence[ToolReport]) -> None:
        rows = [
            {
                "worker": worker,
                "name": report.spec.name,
                "spec": report.spec.model_dump(mode="json"),
                "state": report.state,
                "reason": report.reason.replace("\x00", "").encode("utf-8", "replace").decode(),  # a server of others may have worded it
            }
            for report in reports
        ]

        async def work(connection: AsyncConnection) -> None:
            # Two processes of one host speak for the same worker.
            await self._database.lock(connection, f"tools:{worker}")
            await connection.execute(delete(tool_reports).where(tool_reports.c.worker == worker))
            if rows:
                await connection.execute(insert(tool_reports).values(seen_at=db_now()), rows)

        await self._database.write(work)

    async def read(self, fresh_s: float) -> Sequence[ToolReport]:
        """What a worker of another version said of a tool, in words this one does not know, is left out."""
        is_fresh = tool_reports.c.seen_at > db_now() - fresh_s
        rows = await self._database.rows(select(tool_reports).where(is_fresh))
        reports = [report for row in rows if (report := _report_from(row)) is not None]
        return sorted(reports, key=lambda report: (report.spec.name, report.worker))


def _report_from(row: RowMapping) -> ToolReport | None:
    try:
        spec = ToolSpec.model_validate(row["spec"])
    except ValidationError:
        return None
    return ToolReport(spec=spec, state=row["state"], reason=row["reason"], worker=row["worker"], seen_at=to_datetime(row["seen_at"]))
