"""The log of routing decisions, for replay and for the figures of a policy version. The promises are those of ``DecisionLog``.

What is counted stands beside the decision in columns that one index holds; the decision itself is kept whole. Rows of versions before bands and
rollouts are completed as they are read.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal, or_, select, tuple_, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import NotFound
from tandem.ids import DecisionId, TenantId
from tandem.ports import JobTimes, LoggedDecision
from tandem.schemas.outcomes import OutcomeKind
from tandem.schemas.policies import VersionStats
from tandem.schemas.routing import CALLER_SOURCES, Arm, Decision
from tandem.storage.engine import Database
from tandem.storage.tables import decisions, jobs, outcomes
from tandem.storage.times import db_now, to_datetime

_PAGE: Final = 1_000
"""Rows read at once: parsing them holds up whatever else the process does."""
_FLUSH_S: Final = 60.0
"""Gateways write decisions and outcomes in batches: an outcome may be this much older than its decision."""
_COUNTED: Final[tuple[OutcomeKind, ...]] = ("check_failed", "thumbs_up", "thumbs_down", "wrong_route", "reask")


class SqlDecisionLog:
    """Implements ``DecisionLog``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, decisions: Sequence[LoggedDecision]) -> None:
        rows = [_row_of(each) for each in decisions]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(self._put(), rows)

        if rows:
            await self._database.write(work)

    async def recent(self, tenant: TenantId, limit: int) -> Sequence[LoggedDecision]:
        """Newest first."""
        newest = select(decisions).where(decisions.c.tenant == tenant).order_by(decisions.c.created_at.desc(), decisions.c.id.desc()).limit(limit)
        return [_logged_from(row) for row in await self._database.rows(newest)]

    async def get(self, decision_id: DecisionId, tenant: TenantId) -> LoggedDecision:
        row = await self._database.row(select(decisions).where(decisions.c.id == decision_id, decisions.c.tenant == tenant))
        if row is None:
            message = f"no decision {decision_id!r}; check the id, and that the key belongs to the same tenant"
            raise NotFound(f"{message}. Decisions are forgotten after `retention.decisions_days`", param="decision_id")
        return _logged_from(row)

    async def since(self, seconds: float, limit: int) -> Sequence[LoggedDecision]:
        newest = select(decisions).where(_is_within(seconds)).order_by(decisions.c.created_at.desc(), decisions.c.id.desc())
        found: list[LoggedDecision] = []
        page = newest
        while len(found) < limit:
            rows = await self._database.rows(page.limit(min(_PAGE, limit - len(found))))
            found += [_logged_from(row, is_lean=True) for row in rows]
            if len(rows) < _PAGE:
                break
            page = newest.where(tuple_(decisions.c.created_at, decisions.c.id) < (rows[-1]["created_at"], rows[-1]["id"]))
        return found

    async def stats(self, seconds: float) -> Sequence[VersionStats]:
        """Of each kind of outcome a decision counts once, whoever said it."""

        async def work(connection: AsyncConnection) -> tuple[Sequence[RowMapping], Sequence[RowMapping]]:
            made = (await connection.execute(_made(seconds))).mappings().all()
            return made, (await connection.execute(_learnt(seconds))).mappings().all()

        made, learnt = await self._database.read(work)
        known = {(row["policy_version"], row["arm"]): row for row in learnt}
        return [_stats_from(row, known.get((row["policy_version"], row["arm"]))) for row in made]

    async def job_times(self, seconds: float) -> JobTimes:
        (row,) = await self._database.rows(_job_times(seconds))
        hours = (row["now_s"] - row["since_s"]) / 3_600 if row["jobs"] else seconds / 3_600
        return JobTimes(jobs=row["jobs"], mean_run_s=row["mean_run_s"] or 0.0, hours=hours, workers=row["workers"] or 0)

    def _put(self) -> Any:
        """SQL: a row, unless it is there already: whoever does not know whether a batch was stored sends it again."""
        new = (sqlite.insert if self._database.is_sqlite else postgresql.insert)(decisions).values(created_at=db_now())
        return new.on_conflict_do_nothing(index_elements=[decisions.c.id])


def _row_of(logged: LoggedDecision) -> dict[str, Any]:
    decision = logged.decision
    return {
        "id": logged.id,
        "tenant": logged.tenant,
        "decision": decision.model_dump(mode="json"),
        "policy_version": decision.policy_version,
        "arm": decision.arm,
        "lane": decision.lane,
        "band": decision.band,
        "override": decision.override,
        "latency_us": decision.latency_us,
        "text_chars": logged.text_chars,
        "text": logged.text,
        "door": logged.door,
    }


def _logged_from(row: RowMapping, *, is_lean: bool = False) -> LoggedDecision:
    """A row; a lean one without its reasons, which are half of its memory."""
    stored = row["decision"] | {"reasons": []} if is_lean else row["decision"]
    return LoggedDecision(
        id=DecisionId(row["id"]),
        tenant=TenantId(row["tenant"]),
        decision=_decision_from(stored),
        text_chars=row["text_chars"],
        door=row["door"],
        text=row["text"],
        created_at=to_datetime(row["created_at"]),
    )


def _decision_from(stored: dict[str, Any]) -> Decision:
    """Before there was a check band, the lane was all, and the cut the only one."""
    return Decision.model_validate({"band": stored["lane"], "check_at": stored["threshold"]} | stored)


def _is_within(seconds: float) -> ColumnElement[bool]:
    return decisions.c.created_at > db_now() - seconds


def _made(seconds: float) -> Any:
    """SQL: figures of the decisions, from the index alone."""
    is_auto = or_(decisions.c.override.is_(None), decisions.c.override.not_in(sorted(CALLER_SOURCES)))
    version = (decisions.c.policy_version, decisions.c.arm)
    figures = (
        func.count().label("decisions"),
        _count(is_auto).label("auto"),
        _count(and_(is_auto, decisions.c.lane == "slow")).label("slow"),
        _count(decisions.c.band == "check").label("checked"),
        func.avg(decisions.c.latency_us).label("mean_latency_us"),
    )
    return select(*version, *figures).where(_is_within(seconds)).group_by(*version).order_by(*version)


def _learnt(seconds: float) -> Any:
    """SQL: decisions per kind of outcome; begins at the outcomes, of which there are fewer."""
    version = (decisions.c.policy_version, decisions.c.arm)
    kinds = [_decisions_with(kind).label(kind) for kind in _COUNTED]
    statement = select(*version, *kinds, _decisions_with("check_failed", "escalated").label("escalations"))
    of_the_time = outcomes.c.created_at > db_now() - (seconds + _FLUSH_S)
    return (
        statement.join_from(outcomes, decisions, decisions.c.id == outcomes.c.decision_id).where(of_the_time, _is_within(seconds)).group_by(*version)
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _decisions_with(*kinds: OutcomeKind) -> ColumnElement[int]:
    return func.count(case((outcomes.c.kind.in_(kinds), outcomes.c.decision_id)).distinct())


def _stats_from(made: RowMapping, learnt: RowMapping | None) -> VersionStats:
    def count(name: str) -> int:
        return 0 if learnt is None else learnt[name]

    arm: Arm = made["arm"]
    return VersionStats(
        version=made["policy_version"],
        arm=arm,
        decisions=made["decisions"],
        auto=made["auto"],
        slow=made["slow"],
        checked=made["checked"],
        failed_checks=count("check_failed"),
        thumbs_up=count("thumbs_up"),
        thumbs_down=count("thumbs_down"),
        wrong_route=count("wrong_route"),
        reasks=count("reask"),
        escalations=count("escalations"),
        mean_latency_us=made["mean_latency_us"],
    )


def _job_times(seconds: float) -> Any:
    """SQL: figures of the jobs that ended after they had run; how many ran at once follows from the order of beginnings and ends."""
    from_s = db_now() - seconds
    has_run = (jobs.c.finished_at > from_s) & jobs.c.started_at.is_not(None)
    worked = cast(jobs.c.inputs, Text) == "[]"
    begins = select(jobs.c.started_at.label("at"), literal(1).label("step")).where(has_run, worked)
    ends = select(jobs.c.finished_at.label("at"), literal(-1).label("step")).where(has_run, worked)
    steps = union_all(begins, ends).subquery()
    running = select(func.sum(steps.c.step).over(order_by=(steps.c.at, steps.c.step)).label("running")).subquery()
    return select(
        func.count().label("jobs"),
        func.avg(case((worked, jobs.c.finished_at - jobs.c.started_at))).label("mean_run_s"),
        case((func.min(jobs.c.created_at) > from_s, func.min(jobs.c.created_at)), else_=from_s).label("since_s"),
        db_now().label("now_s"),
        select(func.max(running.c.running)).scalar_subquery().label("workers"),
    ).where(has_run)
