"""Routing policies: their versions, the one row that says which of them decide, and its history. The promises are those of ``PolicyStore``.

Whoever writes takes turns with the others for the length of its transaction: numbers have no gaps, and a revision is compared and raised in one
piece. Each line of the history but a draft's tells who was on duty after it; when a version came on duty, and how it left, is read from there.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from json import loads
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, func, insert, literal, null, select, true, union_all, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import Conflict, NotFound
from tandem.ids import PolicyVersionId, is_id
from tandem.ports import NewState, Once
from tandem.schemas.base import JsonObject
from tandem.schemas.policies import PolicyStatus, PolicyVersion, Rollout, RoutingChange, RoutingPolicy, RoutingState
from tandem.storage.engine import Database
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.tables import policies, routing_history, routing_state
from tandem.storage.times import db_now, to_datetime

_LOCK: Final = "routing"
_ROLLED_BACK: Final = frozenset({"roll_back", "auto_roll_back"})
_UNCHANGED: Final = RoutingState(revision=0)
"""Of a database whose routing nobody has changed."""
_Duty = tuple[PolicyStatus, datetime | None]
"""The status of a version, and when it was first put on duty."""
_DRAFT: Final[_Duty] = ("draft", None)


class SqlPolicyStore:
    """Implements ``PolicyStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, version: PolicyVersionId, policy: RoutingPolicy, *, author: str, note: str, once: Once | None = None) -> PolicyVersion:
        async def work(connection: AsyncConnection) -> str:
            # Policies are no tenant's: the keys of repeated calls are their author's.
            if (earlier := await find_earlier(self._database, connection, author, once)) is not None:
                return earlier
            state = await self._locked_state(connection)
            newest = (await connection.execute(select(func.max(policies.c.number)))).scalar_one()
            values = {"version": version, "policy": policy.model_dump(mode="json"), "parent": state.active, "author": author, "note": note}
            await connection.execute(insert(policies).values(**values, number=(newest or 0) + 1, created_at=db_now()))
            await _write_line(connection, revision=state.revision, action="draft", version=version, actor=author, detail={})
            await remember(connection, author, once, version)
            return version

        return await self.get(await self._database.write(work))

    async def get(self, version: str) -> PolicyVersion:
        # A text that can be no id is not asked for: PostgreSQL refuses some of them instead of not finding them.
        if not is_id(version, "pol") or not (found := await self._read(policies.c.version == version, 1)):
            raise _unknown(version)
        return found[0]

    async def list(self, *, after: str | None, limit: int) -> Sequence[PolicyVersion]:
        if after is None:
            return await self._read(true(), limit)
        cursor = await self._database.row(select(policies.c.number).where(policies.c.version == after)) if is_id(after, "pol") else None
        if cursor is None:
            raise NotFound(f"no policy version {after!r} to list after; take `next_after` of the page before", param="after")
        return await self._read(policies.c.number < cursor["number"], limit)

    async def state(self) -> RoutingState:
        row = await self._database.row(select(routing_state).where(routing_state.c.id == 1))
        return _UNCHANGED if row is None else _state_from(row)

    async def now(self) -> datetime:
        (row,) = await self._database.rows(select(db_now().label("now_s")))
        return to_datetime(row["now_s"])

    async def change(self, new: NewState, *, expected_revision: int) -> RoutingState:
        async def work(connection: AsyncConnection) -> RoutingState:
            revision = (await self._locked_state(connection)).revision
            if revision != expected_revision:
                message = f"the routing is at revision {revision} and this change expects {expected_revision}: somebody else was first"
                raise Conflict(f"{message}; look at the present state, then decide again", param="expected_revision")
            rollout = None if new.candidate_json is None else loads(new.candidate_json)
            candidate = None if rollout is None else rollout["version"]
            await _check_versions(connection, new.active, candidate, new.shadow)
            values = {
                "revision": revision + 1,
                "active": new.active,
                "candidate": candidate,
                "rollout": rollout,
                "shadow": new.shadow,
                "kill": new.kill,
            }
            state = await _write_state(connection, values, is_new_stage=new.is_new_stage)
            line = {"action": new.action, "version": new.version, "actor": new.actor, "detail": dict(new.detail)}
            await _write_line(connection, revision=revision + 1, active=new.active, candidate=candidate, **line)
            return state

        return await self._database.write(work)

    async def history(self, *, before: int | None, limit: int) -> Sequence[RoutingChange]:
        lines = select(routing_history).order_by(routing_history.c.number.desc()).limit(limit)
        if before is not None:
            lines = lines.where(routing_history.c.number < before)
        return [_change_from(row) for row in await self._database.rows(lines)]

    async def _locked_state(self, connection: AsyncConnection) -> RoutingState:
        """The state, which nobody changes until the transaction ends; nor are versions added."""
        await self._database.lock(connection, _LOCK)
        row = (await connection.execute(select(routing_state).where(routing_state.c.id == 1))).mappings().one_or_none()
        return _UNCHANGED if row is None else _state_from(row)

    async def _read(self, condition: ColumnElement[bool], limit: int) -> Sequence[PolicyVersion]:
        rows = await self._database.rows(select(policies).where(condition).order_by(policies.c.number.desc()).limit(limit))
        duties = _duties(await self._database.rows(_terms([row["version"] for row in rows])))
        return [_version_from(row, duties.get(row["version"], _DRAFT)) for row in rows]


async def _check_versions(connection: AsyncConnection, *versions: str | None) -> None:
    named = {version for version in versions if version is not None}
    kept = set((await connection.execute(select(policies.c.version).where(policies.c.version.in_(named)))).scalars())
    if missing := sorted(named - kept):
        raise _unknown(missing[0])


async def _write_state(connection: AsyncConnection, values: Mapping[str, object], *, is_new_stage: bool) -> RoutingState:
    since: Any = null()
    if values["candidate"] is not None:
        since = db_now() if is_new_stage or values["revision"] == 1 else func.coalesce(routing_state.c.candidate_since, db_now())
    written = insert(routing_state).values(id=1) if values["revision"] == 1 else update(routing_state).where(routing_state.c.id == 1)
    row = (await connection.execute(written.values(**values, candidate_since=since).returning(routing_state))).mappings().one()
    return _state_from(row)


async def _write_line(connection: AsyncConnection, **values: object) -> None:
    newest = (await connection.execute(select(func.max(routing_history.c.number)))).scalar_one()
    await connection.execute(insert(routing_history).values(**values, number=(newest or 0) + 1, at=db_now()))


def _terms(versions: Sequence[str]) -> Any:
    """SQL: when each of these versions was first on duty in each role, when last, and what ended that; a step into an index each."""

    def of(role: ColumnElement[str], *, is_active: bool) -> Any:
        first, last = func.min(routing_history.c.revision), func.max(routing_history.c.revision)
        term = select(role.label("version"), literal(is_active).label("is_active"), first.label("first"), last.label("last"))
        return term.where(role.in_(versions)).group_by(role)

    terms = union_all(of(routing_history.c.active, is_active=True), of(routing_history.c.candidate, is_active=False)).subquery()
    begun, ended = routing_history.alias(), routing_history.alias()
    facts = select(terms.c.version, terms.c.is_active, terms.c.last, begun.c.at.label("begun_at"), ended.c.action.label("ended_by"))
    return facts.join(begun, _is_change(begun, terms.c.first)).outerjoin(ended, _is_change(ended, terms.c.last + 1))


def _is_change(line: FromClause, revision: ColumnElement[int]) -> ColumnElement[bool]:
    return (line.c.revision == revision) & (line.c.action != "draft")


def _duties(terms: Sequence[RowMapping]) -> dict[str, _Duty]:
    by_version: dict[str, list[RowMapping]] = {}
    for term in terms:
        by_version.setdefault(term["version"], []).append(term)
    return {version: _duty(of_version) for version, of_version in by_version.items()}


def _duty(terms: Sequence[RowMapping]) -> _Duty:
    """From a version's terms as the active one and as the candidate."""
    first_at = to_datetime(min(term["begun_at"] for term in terms))
    newest = max(terms, key=lambda term: (term["last"], term["is_active"]))
    if newest["ended_by"] is None:
        return ("active" if newest["is_active"] else "candidate"), first_at
    return ("rolled_back" if newest["ended_by"] in _ROLLED_BACK else "retired"), first_at


def _version_from(row: RowMapping, duty: _Duty) -> PolicyVersion:
    status, published_at = duty
    return PolicyVersion(
        version=row["version"],
        number=row["number"],
        status=status,
        policy=RoutingPolicy.model_validate(row["policy"]),
        parent=row["parent"],
        author=row["author"],
        note=row["note"],
        created_at=to_datetime(row["created_at"]),
        published_at=published_at,
    )


def _state_from(row: RowMapping) -> RoutingState:
    return RoutingState(
        revision=row["revision"],
        active=row["active"],
        candidate=None if row["rollout"] is None else _rollout_from(row["rollout"], row["candidate_since"]),
        shadow=row["shadow"],
        kill=row["kill"],
    )


def _rollout_from(stored: JsonObject, since_s: float) -> Rollout:
    return Rollout.model_validate(stored | {"since": to_datetime(since_s)})


def _change_from(row: RowMapping) -> RoutingChange:
    return RoutingChange(
        number=row["number"],
        revision=row["revision"],
        at=to_datetime(row["at"]),
        action=row["action"],
        version=row["version"],
        actor=row["actor"],
        detail=row["detail"],
    )


def _unknown(version: str) -> NotFound:
    return NotFound(f"no policy version {version!r}; `GET /v1/router/policies` lists them", param="version")
