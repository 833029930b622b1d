"""The tables, as SQLAlchemy Core metadata: the same on SQLite and PostgreSQL.

Moments are doubles (``times.py``). What a model or a tool may have written is kept as JSON, whose escapes carry any character on both databases.
A job is unfinished exactly while ``finished_at`` is null; partial indexes lean on that. ``migrations/`` must lead to this schema (a test compares).
"""

from typing import Any, Final

from sqlalchemy import JSON, Column, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, text

SCHEMA_VERSION: Final = "0001"
"""Newest migration: what ``alembic_version`` holds when the database fits this code."""

MOMENT: Final = Double[float](asdecimal=False)
"""Seconds since 1970-01-01 UTC, by the database's clock."""

METADATA: Final = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s"}
)


def _required(name: str, kind: Any, *arguments: Any) -> Column[Any]:
    return Column(name, kind, *arguments, nullable=False)


threads: Final = Table(
    "threads",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    _required("title", Text),
    _required("created_at", MOMENT),
    _required("last_seq", Integer),
    Index("ix_threads_listing", "tenant", "created_at", "id"),
)

jobs: Final = Table(
    "jobs",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    Column("key_id", Text),
    Column("thread_id", Text, ForeignKey("threads.id")),
    Column("decision_id", Text),
    _required("status", Text),
    _required("request", JSON),
    _required("effort", Text),
    _required("priority", Integer),
    _required("view", JSON),
    Column("result", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    _required("last_seq", Integer),
    _required("epoch", Integer),  # raised by each claim; a write with an older one is refused
    _required("attempt", Integer),  # claims so far
    _required("lost", Integer),  # claims whose lease ran out: what the attempt cap counts
    Column("owner", Text),
    Column("lease_until", MOMENT),
    Column("beat_at", MOMENT),  # newest claim or renewal, for liveness
    Column("cancel_requested_at", MOMENT),
    _required("hint_at", MOMENT),  # newest hint; 0 makes the reaper hint at once
    _required("hint_wait_s", MOMENT),  # back-off before the next hint
    _required("created_at", MOMENT),
    Column("started_at", MOMENT),
    Column("finished_at", MOMENT),
    Index("ix_jobs_listing", "tenant", "created_at", "id"),
    Index("ix_jobs_status", "status"),
    Index("ix_jobs_beat", "beat_at"),
    Index("ix_jobs_unfinished", "tenant", sqlite_where=text("finished_at IS NULL"), postgresql_where=text("finished_at IS NULL")),
    Index("ix_jobs_waiting", "status", "hint_at", sqlite_where=text("finished_at IS NULL"), postgresql_where=text("finished_at IS NULL")),
    Index("ix_jobs_thread", "thread_id", sqlite_where=text("finished_at IS NULL"), postgresql_where=text("finished_at IS NULL")),
)

events: Final = Table(
    "events",
    METADATA,
    Column("stream_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _required("type", Text),
    _required("data", JSON),
    _required("created_at", MOMENT),
    Column("epoch", Integer),  # of the worker that wrote it; null for events of other origin
)

effects: Final = Table(
    "effects",
    METADATA,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    _required("result", JSON),
    _required("epoch", Integer),
    _required("created_at", MOMENT),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    _required("fingerprint", Text),
    _required("job_id", Text, ForeignKey("jobs.id")),
    _required("expires_at", MOMENT),
    Index("ix_idempotency_keys_expiry", "tenant", "expires_at"),
)

outbox: Final = Table(
    "outbox",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("job_id", Text, ForeignKey("jobs.id")),
    _required("tenant", Text),
    _required("url", Text),
    _required("body", LargeBinary),
    _required("state", Text),
    _required("attempt", Integer),
    _required("due_at", MOMENT),  # a claim moves it to the end of its lease
    Column("status_code", Integer),
    Column("reason", Text),
    _required("created_at", MOMENT),
    _required("updated_at", MOMENT),
    Index("ix_outbox_due", "state", "due_at"),
)

turns: Final = Table(
    "turns",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("thread_id", Text, ForeignKey("threads.id")),
    _required("message_id", Text),
    _required("status", Text),
    _required("first_seq", Integer),  # of the user's MESSAGE_CREATED
    _required("lease_until", MOMENT),
    _required("created_at", MOMENT),
    Column("finished_at", MOMENT),
    Index("ix_turns_running", "thread_id", "first_seq", sqlite_where=text("finished_at IS NULL"), postgresql_where=text("finished_at IS NULL")),
    Index("ix_turns_lease", "lease_until", sqlite_where=text("finished_at IS NULL"), postgresql_where=text("finished_at IS NULL")),
)

messages: Final = Table(
    "messages",
    METADATA,
    Column("thread_id", Text, ForeignKey("threads.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _required("id", Text),
    Column("turn_id", Text),
    _required("role", Text),
    _required("content", JSON),
    _required("created_at", MOMENT),
    Column("lane", Text),
    Column("job_id", Text),
    Column("decision_id", Text),
    Column("error", JSON(none_as_null=True)),
    Index("ix_messages_id", "id", unique=True),
)

api_keys: Final = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    _required("name", Text),
    _required("scopes", JSON),
    _required("digest", LargeBinary),
    _required("created_at", MOMENT),
    Column("revoked_at", MOMENT),
)

decisions: Final = Table(
    "decisions",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    _required("decision", JSON),
    _required("text_chars", Integer),
    _required("door", Text),
    _required("created_at", MOMENT),
    Index("ix_decisions_listing", "tenant", "created_at", "id"),
)
