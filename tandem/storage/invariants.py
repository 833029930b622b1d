"""What must hold in every database of Tandem, checked from outside: while the platform runs, or after it was killed.

Each check is one statement, so it sees one snapshot and may run beside writers; it returns what breaks the rule. Only ``_texts`` reads the logs.
Old events, deliveries and recorded steps may have been swept (``retention``): no check takes that for a loss.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Executable, String, cast, func, select, text, tuple_
from sqlalchemy.engine import make_url

from tandem.errors import StorageUnavailable
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent
from tandem.settings import DatabaseSettings
from tandem.storage.engine import Database
from tandem.storage.tables import events, jobs, outbox
from tandem.storage.times import db_now

MOST: Final = 1_000
"""Violations that one check returns at most."""
_PAGE: Final = 5_000
_RECENT_S: Final = 86_400.0
"""Deliveries of jobs that ended this recently have not been swept."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule. The statement returns ``subject`` (an id) and ``detail`` of whatever breaks it."""

    name: str
    meaning: str
    statement: Executable


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach of a rule."""

    check: str
    meaning: str
    """The rule in plain words."""
    subject: str
    """Id of the job, thread or row."""
    detail: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What an examination found."""

    checks: Mapping[str, str]
    """Every rule and its meaning."""
    violations: Sequence[Violation]
    counts: Mapping[str, int]
    """How much there was to examine."""


async def check_invariants(database_url: str) -> Sequence[Violation]:
    """Everything in the database that must not be there."""
    return (await audit(database_url)).violations


async def audit(database_url: str) -> Audit:
    """Examine a database without changing it.

    Raises:
        StorageUnavailable: There is no such database, or it does not answer.
        StorageNotMigrated: Its tables are not those of this version.
    """
    database = _open(database_url)
    try:
        found = [
            Violation(check.name, check.meaning, row["subject"], row["detail"]) for check in CHECKS for row in await database.rows(check.statement)
        ]
        found += [violation async for violation in _texts(database)]
        counts = {row["name"]: int(row["rows"]) for row in await database.rows(_COUNTS)}
    finally:
        await database.close()
    return Audit({check.name: check.meaning for check in CHECKS} | {_TEXTS_NAME: _TEXTS_MEANING}, found, counts)


def _open(database_url: str) -> Database:
    database = Database(database_url, DatabaseSettings())
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise StorageUnavailable(f"there is no database file {url.database!r}; check database.url", retry_after_s=0.0)
    return database


_TEXTS_NAME: Final = "text_differs"
_TEXTS_MEANING: Final = "The pieces of a finished message add up to its text."
_TEXT_TYPES: Final = (JobEvent.ITEM_ADDED, JobEvent.TEXT_DELTA, JobEvent.TEXT_DONE, JobEvent.TEXT_RESET)


async def _texts(database: Database) -> AsyncIterator[Violation]:
    """Follows every message from its first piece; one whose beginning was swept, or that was reset, is left out."""
    pieces: dict[tuple[str, str], list[str]] = {}
    async for stream_id, kind, data in _text_events(database):
        item = (stream_id, str(data.get("item_id")))
        if kind == JobEvent.ITEM_ADDED:
            pieces = {place: texts for place, texts in pieces.items() if place[0] == stream_id} | {item: []}
        elif kind == JobEvent.TEXT_DELTA and item in pieces:
            pieces[item].append(str(data["delta"]))
        elif kind == JobEvent.TEXT_RESET:
            pieces.pop(item, None)
        elif kind == JobEvent.TEXT_DONE and item in pieces and (streamed := "".join(pieces.pop(item))) != data["text"]:
            detail = f"{item[1]}: {len(streamed)} characters streamed, {len(str(data['text']))} in the text"
            yield Violation(_TEXTS_NAME, _TEXTS_MEANING, stream_id, detail)


async def _text_events(database: Database) -> AsyncIterator[tuple[str, str, JsonObject]]:
    """Log by log, in order."""
    after = ("", -1)
    while True:
        page = select(events.c.stream_id, events.c.seq, events.c.type, events.c.data).where(
            events.c.type.in_(_TEXT_TYPES), tuple_(events.c.stream_id, events.c.seq) > after
        )
        rows = await database.rows(page.order_by(events.c.stream_id, events.c.seq).limit(_PAGE))
        for row in rows:
            yield row["stream_id"], row["type"], row["data"]
        if len(rows) < _PAGE:
            return
        after = (rows[-1]["stream_id"], rows[-1]["seq"])


_WORDS: Final = {
    "terminal": "('response.completed', 'response.failed', 'response.cancelled', 'response.incomplete')",
    "ended": "('completed', 'failed', 'cancelled', 'incomplete')",
    "held": "('in_progress', 'cancelling')",
    "asks": """CAST(inputs AS TEXT) LIKE '%"status":"pending"%'""",
}
"""What stands for the names in braces."""


def _sql(name: str, meaning: str, statement: str) -> Check:
    return Check(name, meaning, text(f"{statement.format(**_WORDS)} LIMIT {MOST}"))


def _no_webhook() -> Executable:
    """SQL: ended jobs with a receiver of their own for which nothing was ever queued."""
    url = jobs.c.request["webhook_url"].as_string()
    queued = select(outbox.c.id).where(
        outbox.c.job_id == jobs.c.id, outbox.c.endpoint_id.is_(None), outbox.c.event_type == "response." + jobs.c.status
    )
    return (
        select(jobs.c.id.label("subject"), ("ended as " + jobs.c.status).label("detail"))
        .where(jobs.c.finished_at > db_now() - _RECENT_S, url.is_not(None), ~queued.exists())
        .limit(MOST)
    )


def _answered_twice() -> Executable:
    """SQL: questions with more than one answer in the log."""
    input_id = events.c.data["input_id"].as_string()
    detail = (input_id + " answered " + cast(func.count(), String) + " times").label("detail")
    received = select(events.c.stream_id.label("subject"), detail).where(events.c.type == JobEvent.INPUT_RECEIVED)
    return received.group_by(events.c.stream_id, input_id).having(func.count() > 1).limit(MOST)


CHECKS: Final[Sequence[Check]] = (
    _sql(
        "not_one_end",
        "An ended job has exactly one terminal event.",
        """SELECT j.id AS subject, j.status || ' with ' || count(e.seq) || ' terminal events' AS detail
        FROM jobs j LEFT JOIN events e ON e.stream_id = j.id AND e.type IN {terminal}
        WHERE j.finished_at IS NOT NULL GROUP BY j.id, j.status HAVING count(e.seq) <> 1""",
    ),
    _sql(
        "end_before_end",
        "An unfinished job has no terminal event.",
        """SELECT j.id AS subject, j.status || ' after ' || e.type AS detail
        FROM jobs j JOIN events e ON e.stream_id = j.id WHERE j.finished_at IS NULL AND e.type IN {terminal}""",
    ),
    _sql(
        "end_differs",
        "The terminal event says the status that the job has.",
        """SELECT j.id AS subject, j.status || ' after ' || e.type AS detail FROM jobs j JOIN events e ON e.stream_id = j.id
        WHERE j.finished_at IS NOT NULL AND e.type IN {terminal} AND e.type <> 'response.' || j.status""",
    ),
    _sql(
        "status_without_time",
        "A job has a terminal status exactly when it has the time of its end.",
        "SELECT id AS subject, status AS detail FROM jobs WHERE (finished_at IS NOT NULL) <> (status IN {ended})",
    ),
    _sql(
        "event_after_end",
        "Nothing follows the terminal event.",
        """SELECT later.stream_id AS subject, later.type || ' at ' || later.seq AS detail FROM events e
        JOIN events later ON later.stream_id = e.stream_id AND later.seq > e.seq
        JOIN jobs j ON j.id = e.stream_id WHERE e.type IN {terminal}""",
    ),
    _sql(
        "gap_in_log",
        "The numbers of a log have no gap.",
        """SELECT stream_id AS subject, count(*) || ' events from ' || min(seq) || ' to ' || max(seq) AS detail
        FROM events GROUP BY stream_id HAVING max(seq) - min(seq) + 1 <> count(*)""",
    ),
    _sql(
        "last_number_differs",
        "The newest number of a log stands on its job or thread.",
        """SELECT owner.id AS subject, 'says ' || owner.last_seq || ', log ends at ' || coalesce(max(e.seq), -1) AS detail
        FROM (SELECT id, last_seq FROM jobs UNION ALL SELECT id, last_seq FROM threads) AS owner
        LEFT JOIN events e ON e.stream_id = owner.id
        GROUP BY owner.id, owner.last_seq HAVING owner.last_seq <> coalesce(max(e.seq), -1)""",
    ),
    _sql(
        "not_created_first",
        "A job's log begins with its creation.",
        """SELECT j.id AS subject, e.type AS detail FROM jobs j JOIN events e ON e.stream_id = j.id AND e.seq = 0
        WHERE e.type <> 'response.created'""",
    ),
    _sql(
        "log_of_nobody",
        "Every log belongs to a job or a thread.",
        """SELECT e.stream_id AS subject, count(*) || ' events' AS detail FROM events e
        WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = e.stream_id)
        AND NOT EXISTS (SELECT 1 FROM threads WHERE threads.id = e.stream_id) GROUP BY e.stream_id""",
    ),
    Check("no_webhook", "An ended job with a webhook_url has queued its webhook.", _no_webhook()),
    _sql(
        "webhook_twice",
        "The end of a job is queued once for each receiver.",
        """SELECT job_id AS subject, event_type || ' ' || count(*) || ' times for ' || coalesce(endpoint_id, url) AS detail FROM outbox
        WHERE job_id IS NOT NULL AND event_type IN {terminal} GROUP BY job_id, event_type, coalesce(endpoint_id, url) HAVING count(*) > 1""",
    ),
    _sql(
        "epoch_goes_back",
        "No worker writes after a newer one has begun.",
        """SELECT stream_id AS subject, 'epoch ' || epoch || ' at ' || seq || ' after ' || newest AS detail FROM (
        SELECT stream_id, seq, epoch, max(epoch) OVER (PARTITION BY stream_id ORDER BY seq) AS newest FROM events WHERE epoch IS NOT NULL
        ) AS written WHERE epoch < newest""",
    ),
    _sql(
        "epoch_ahead",
        "Nothing was written by an epoch that the job never had.",
        """SELECT j.id AS subject, 'epoch ' || max(e.epoch) || ', the job is at ' || j.epoch AS detail
        FROM jobs j JOIN events e ON e.stream_id = j.id GROUP BY j.id, j.epoch HAVING max(e.epoch) > j.epoch""",
    ),
    _sql(
        "two_owners",
        "An epoch has one worker.",
        """SELECT stream_id AS subject, count(*) || ' claims of epoch ' || epoch AS detail FROM events
        WHERE type = 'response.tandem.attempt.started' GROUP BY stream_id, epoch HAVING count(*) > 1""",
    ),
    _sql(
        "held_by_nobody",
        "A running job has an owner and a lease.",
        "SELECT id AS subject, status AS detail FROM jobs WHERE status IN {held} AND (owner IS NULL OR lease_until IS NULL)",
    ),
    _sql(
        "held_while_waiting",
        "A job that does not run has neither owner nor lease.",
        "SELECT id AS subject, status AS detail FROM jobs WHERE status NOT IN {held} AND (owner IS NOT NULL OR lease_until IS NOT NULL)",
    ),
    _sql(
        "attempts_differ",
        "The log shows each claim of the job.",
        """SELECT j.id AS subject, j.attempt || ' claims, ' || (SELECT count(*) FROM events e WHERE e.stream_id = j.id
        AND e.type = 'response.tandem.attempt.started') || ' in the log' AS detail FROM jobs j
        WHERE EXISTS (SELECT 1 FROM events e WHERE e.stream_id = j.id AND e.seq = 0)
        AND j.attempt <> (SELECT count(*) FROM events e WHERE e.stream_id = j.id AND e.type = 'response.tandem.attempt.started')""",
    ),
    _sql(
        "losses_differ",
        "The log shows each lost worker of the job.",
        """SELECT j.id AS subject, j.lost || ' lost workers, ' || (SELECT count(*) FROM events e WHERE e.stream_id = j.id
        AND e.type = 'response.tandem.attempt.lost') || ' in the log' AS detail FROM jobs j
        WHERE EXISTS (SELECT 1 FROM events e WHERE e.stream_id = j.id AND e.seq = 0)
        AND j.lost <> (SELECT count(*) FROM events e WHERE e.stream_id = j.id AND e.type = 'response.tandem.attempt.lost')""",
    ),
    _sql(
        "unknown_outcome",
        "A completed job knows the outcome of all it began.",
        """SELECT j.id AS subject, f.key AS detail FROM jobs j JOIN effects f ON f.job_id = j.id
        WHERE j.status = 'completed' AND f.state <> 'done'""",
    ),
    Check("answered_twice", "A question is answered once.", _answered_twice()),
    _sql(
        "asks_nothing",
        "A job that waits for an answer has an open question.",
        "SELECT id AS subject, status AS detail FROM jobs WHERE status = 'input_required' AND NOT {asks}",
    ),
    _sql(
        "asks_after_end",
        "An ended job has no open question.",
        "SELECT id AS subject, status AS detail FROM jobs WHERE finished_at IS NOT NULL AND {asks}",
    ),
    _sql(
        "state_ahead",
        "No checkpoint is newer than its job.",
        """SELECT j.id AS subject, 'checkpoint of epoch ' || max(c.epoch) || ', the job is at ' || j.epoch AS detail FROM jobs j
        JOIN (SELECT job_id, epoch FROM checkpoints UNION ALL SELECT job_id, epoch FROM checkpoint_writes) AS c ON c.job_id = j.id
        GROUP BY j.id, j.epoch HAVING max(c.epoch) > j.epoch""",
    ),
    _sql(
        "state_after_completion",
        "A completed job keeps no checkpoint.",
        """SELECT j.id AS subject, count(*) || ' checkpoints' AS detail FROM jobs j JOIN checkpoints c ON c.job_id = j.id
        WHERE j.status = 'completed' GROUP BY j.id""",
    ),
    _sql(
        "routing_names_nobody",
        "Each version that the routing names is kept.",
        """SELECT named.version AS subject, named.role || ' at revision ' || named.revision AS detail FROM (
        SELECT active AS version, 'active' AS role, revision FROM routing_state UNION ALL SELECT candidate, 'candidate', revision FROM routing_state
        UNION ALL SELECT shadow, 'shadow', revision FROM routing_state) AS named
        WHERE named.version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM policies p WHERE p.version = named.version)""",
    ),
    _sql(
        "gap_in_routing_history",
        "The revisions of the routing, and the lines of its history, have no gap.",
        """SELECT 'routing' AS subject, what || ': ' || found || ' up to ' || newest AS detail FROM (
        SELECT 'lines' AS what, count(*) AS found, coalesce(max(number), 0) AS newest FROM routing_history
        UNION ALL SELECT 'revisions', count(*), coalesce(max(revision), 0) FROM routing_history WHERE action <> 'draft') AS numbered
        WHERE found <> newest""",
    ),
    _sql(
        "routing_differs",
        "The newest change in the history is the state of the routing.",
        """SELECT 'routing' AS subject, 'state of revision ' || coalesce(s.revision, 0) || ', history of ' || coalesce(h.revision, 0) AS detail
        FROM (SELECT 1 AS id) AS one LEFT JOIN routing_state s ON s.id = one.id
        LEFT JOIN routing_history h ON h.action <> 'draft' AND h.revision = (SELECT max(revision) FROM routing_history WHERE action <> 'draft')
        WHERE coalesce(s.revision, 0) <> coalesce(h.revision, 0)
        OR coalesce(s.active, '') <> coalesce(h.active, '') OR coalesce(s.candidate, '') <> coalesce(h.candidate, '')""",
    ),
    _sql(
        "gap_in_policies",
        "The numbers of policy versions have no gap.",
        """SELECT 'policies' AS subject, found || ' versions up to number ' || newest AS detail
        FROM (SELECT count(*) AS found, coalesce(max(number), 0) AS newest FROM policies) AS numbered WHERE found <> newest""",
    ),
    _sql(
        "outcome_of_nobody",
        "A user speaks of a decision that was made; a swept one leaves approved labels alone.",
        # Decisions that came before the oldest one that is kept may have been swept while the user spoke.
        """SELECT o.id AS subject, o.kind || ' of ' || o.decision_id AS detail FROM outcomes o
        WHERE o.source = 'user' AND o.status <> 'approved' AND o.decision_id > (SELECT min(id) FROM decisions)
        AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = o.decision_id)""",
    ),
    _sql(
        "outcome_of_another_tenant",
        "An outcome belongs to the tenant of its decision.",
        """SELECT o.id AS subject, o.tenant || ' of a decision of ' || d.tenant AS detail
        FROM outcomes o JOIN decisions d ON d.id = o.decision_id WHERE o.tenant <> d.tenant""",
    ),
)
"""Every rule but that of the texts."""

_COUNTS: Final = text(
    """SELECT 'jobs ' || status AS name, count(*) AS rows FROM jobs GROUP BY status
    UNION ALL SELECT 'attempts', coalesce(sum(attempt), 0) FROM jobs
    UNION ALL SELECT 'lost attempts', coalesce(sum(lost), 0) FROM jobs
    UNION ALL SELECT 'events', count(*) FROM events
    UNION ALL SELECT 'effects ' || state, count(*) FROM effects GROUP BY state
    UNION ALL SELECT 'checkpoints', count(*) FROM checkpoints
    UNION ALL SELECT 'artifacts', count(*) FROM artifacts
    UNION ALL SELECT 'deliveries ' || state, count(*) FROM outbox GROUP BY state
    UNION ALL SELECT 'decisions', count(*) FROM decisions
    UNION ALL SELECT 'outcomes ' || status, count(*) FROM outcomes GROUP BY status
    UNION ALL SELECT 'policy versions', count(*) FROM policies"""
)
