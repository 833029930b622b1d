"""What became of decisions. The promises are those of ``OutcomeStore``.

An outcome may be written before the decision it is of, which comes in a batch: nothing here asks whether that is there. Callers who name a decision
have read it through ``DecisionLog.get``, which knows its tenant.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import NotFound
from tandem.ids import DecisionId, OutcomeId
from tandem.ports import NewOutcome
from tandem.schemas.outcomes import LabelStatus, Outcome, OutcomeKind
from tandem.schemas.routing import Lane
from tandem.storage.engine import Database
from tandem.storage.tables import decisions, outcomes
from tandem.storage.times import db_now, to_datetime

_IDS_AT_ONCE: Final = 2_000
"""Parameters of one statement; SQLite and PostgreSQL allow 32 thousand."""
_KEY: Final = (outcomes.c.decision_id, outcomes.c.kind, outcomes.c.source)
_TEXT: Final = decisions.c.text.label("decision_text")


class SqlOutcomeStore:
    """Implements ``OutcomeStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, outcomes: Sequence[NewOutcome]) -> None:
        newest = {(new.decision_id, new.kind, new.source): new for new in outcomes}
        # In one order, so that two batches at once do not wait for each other.
        rows = [_row_of(newest[key]) for key in sorted(newest)]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(self._put(), rows)

        if rows:
            await self._database.write(work)

    async def list(self, *, status: LabelStatus | None, kind: OutcomeKind | None, after: OutcomeId | None, limit: int) -> Sequence[Outcome]:
        statement = _with_text().order_by(outcomes.c.created_at.desc(), outcomes.c.id.desc()).limit(limit)
        if status is not None:
            statement = statement.where(outcomes.c.status == status)
        if kind is not None:
            statement = statement.where(outcomes.c.kind == kind)
        if after is not None:
            cursor = await self._database.row(select(outcomes.c.created_at).where(outcomes.c.id == after))
            if cursor is None:
                raise NotFound(f"no outcome {after!r} to list after; take `next_after` of the page before", param="after")
            statement = statement.where(tuple_(outcomes.c.created_at, outcomes.c.id) < (cursor["created_at"], after))
        return [_outcome_from(row, row["decision_text"]) for row in await self._database.rows(statement)]

    async def judge(self, outcome_id: OutcomeId, status: LabelStatus, wanted_lane: Lane | None) -> Outcome:
        values = {"status": status} if wanted_lane is None else {"status": status, "wanted_lane": wanted_lane}
        judged = update(outcomes).where(outcomes.c.id == outcome_id).values(values)

        async def work(connection: AsyncConnection) -> Outcome:
            await connection.execute(judged)
            row = (await connection.execute(_with_text().where(outcomes.c.id == outcome_id))).mappings().one_or_none()
            if row is None:
                raise NotFound(f"no outcome {outcome_id!r}; a newer one of the same decision and kind may have replaced it", param="outcome_id")
            return _outcome_from(row, row["decision_text"])

        return await self._database.write(work)

    async def of_decisions(self, decision_ids: Sequence[DecisionId]) -> Mapping[DecisionId, Sequence[Outcome]]:
        """Of each decision the oldest first."""
        found: dict[DecisionId, list[Outcome]] = {}
        for start in range(0, len(decision_ids), _IDS_AT_ONCE):
            some = decision_ids[start : start + _IDS_AT_ONCE]
            statement = select(outcomes).where(outcomes.c.decision_id.in_(some)).order_by(outcomes.c.created_at, outcomes.c.id)
            for row in await self._database.rows(statement):
                found.setdefault(DecisionId(row["decision_id"]), []).append(_outcome_from(row, None))
        return found

    def _put(self) -> Any:
        """SQL: a row, in place of the earlier one of the same decision, kind and source."""
        new = (sqlite.insert if self._database.is_sqlite else postgresql.insert)(outcomes).values(created_at=db_now())
        replaced = {column.name: new.excluded[column.name] for column in outcomes.columns if column not in _KEY}
        return new.on_conflict_do_update(index_elements=_KEY, set_=replaced)


def _with_text() -> Select[Any]:
    return select(outcomes, _TEXT).join_from(outcomes, decisions, decisions.c.id == outcomes.c.decision_id, isouter=True)


def _row_of(new: NewOutcome) -> dict[str, Any]:
    return {
        "id": new.id,
        "decision_id": new.decision_id,
        "tenant": new.tenant,
        "kind": new.kind,
        "source": new.source,
        "status": new.status,
        "wanted_lane": new.wanted_lane,
        "fast_score": new.fast_score,
        "slow_score": new.slow_score,
        "text": new.text,
        "comment": new.comment,
    }


def _outcome_from(row: RowMapping, decision_text: str | None) -> Outcome:
    return Outcome(
        id=row["id"],
        decision_id=row["decision_id"],
        kind=row["kind"],
        source=row["source"],
        status=row["status"],
        wanted_lane=row["wanted_lane"],
        fast_score=row["fast_score"],
        slow_score=row["slow_score"],
        text=row["text"] if row["text"] is not None else decision_text,
        comment=row["comment"],
        created_at=to_datetime(row["created_at"]),
    )
