"""The log of routing decisions, for replay."""

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import DecisionId, TenantId
from tandem.ports import LoggedDecision
from tandem.schemas.routing import Decision
from tandem.storage.engine import Database
from tandem.storage.tables import decisions
from tandem.storage.times import db_now


class SqlDecisionLog:
    """Implements ``DecisionLog``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, decisions: Sequence[LoggedDecision]) -> None:
        if decisions:
            await self._database.write(lambda connection: _insert(connection, decisions))

    async def recent(self, tenant: TenantId, limit: int) -> Sequence[LoggedDecision]:
        """Newest first."""
        newest = select(decisions).where(decisions.c.tenant == tenant).order_by(decisions.c.created_at.desc(), decisions.c.id.desc()).limit(limit)
        return [
            LoggedDecision(DecisionId(row["id"]), tenant, Decision.model_validate(row["decision"]), text_chars=row["text_chars"], door=row["door"])
            for row in await self._database.rows(newest)
        ]


async def _insert(connection: AsyncConnection, logged: Sequence[LoggedDecision]) -> None:
    rows = [
        {"id": each.id, "tenant": each.tenant, "decision": each.decision.model_dump(mode="json"), "text_chars": each.text_chars, "door": each.door}
        for each in logged
    ]
    await connection.execute(insert(decisions).values(created_at=db_now()), rows)
