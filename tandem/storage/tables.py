"""The tables, as SQLAlchemy Core metadata: the same on SQLite and PostgreSQL.

Moments are doubles (``times.py``). What a model or a tool may have written is kept as JSON, whose escapes carry any character on both databases.
A job is unfinished exactly while ``finished_at`` is null; partial indexes lean on that. ``migrations/`` must lead to this schema (a test compares).
"""

from typing import Any, Final

from sqlalchemy import JSON, Boolean, Column, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, text

SCHEMA_VERSION: Final = "0004"
"""Newest migration: what ``alembic_version`` holds when the database fits this code."""

MOMENT: Final = Double[float](asdecimal=False)
"""Seconds since 1970-01-01 UTC, by the database's clock."""
NUMBER: Final = Double[float](asdecimal=False)
"""A double that is no moment."""

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


def _only(condition: str) -> dict[str, Any]:
    """Makes an index hold only the rows that meet the condition."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


_UNFINISHED: Final = _only("finished_at IS NULL")
"""Makes an index hold only rows that have not ended."""

jobs: Final = Table(
    "jobs",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    Column("key_id", Text),
    Column("thread_id", Text, ForeignKey("threads.id")),
    Column("decision_id", Text),
    Column("response_id", Text),  # of the OpenAI door; also what its webhooks call the job
    Column("parent_id", Text),
    Column("root_id", Text),  # the topmost ancestor; null for a job without a parent
    Column("retry_of", Text),
    Column("schedule_id", Text),
    _required("status", Text),
    _required("request", JSON),  # as submitted, with later changes of budget, priority and metadata
    _required("effort", Text),
    Column("tools", JSON(none_as_null=True)),  # names it may use, settled at the door; null in jobs older than grants
    _required("priority", Integer),
    _required("share_key", Text),  # whose turn a claim uses up: the API key, else the tenant
    _required("view", JSON),  # written by the worker alone
    _required("inputs", JSON),  # list of InputRequest: what was asked, open or not
    _required("inbox", JSON),  # list of Steer: what people added, applied or not
    _required("artifacts", JSON),  # list of Artifact; their bytes are in another table
    Column("result", JSON(none_as_null=True)),  # while it waits for a budget: the best so far
    Column("error", JSON(none_as_null=True)),
    _required("last_seq", Integer),
    _required("items", Integer),  # output items its log has opened
    Column("open_item", Text),  # id of the message whose text is being written
    _required("epoch", Integer),  # raised by each claim; a write with an older one is refused
    _required("attempt", Integer),  # claims so far
    _required("lost", Integer),  # claims whose lease ran out: what the attempt cap counts
    Column("owner", Text),
    Column("lease_until", MOMENT),
    Column("beat_at", MOMENT),  # newest claim or renewal, for liveness
    Column("event_at", MOMENT),  # newest event, effect or checkpoint of a worker, to see one that lives and does not move
    Column("cancel_requested_at", MOMENT),
    Column("is_rollback", Boolean),  # the cancellation also discards what the job made
    Column("pause_requested_at", MOMENT),
    _required("hint_at", MOMENT),  # newest hint; 0 makes the reaper hint at once; of a scheduled job its run_at
    _required("hint_wait_s", MOMENT),  # back-off before the next hint
    Column("deferred_since", MOMENT),  # its model server has been away since then; null once an effect is recorded
    Column("run_at", MOMENT),  # not before
    Column("deadline_at", MOMENT),  # ended as incomplete when this passes
    Column("expires_at", MOMENT),  # when a wait for input or budget is over
    _required("created_at", MOMENT),
    Column("queued_at", MOMENT),  # when it last began to wait for a worker
    Column("started_at", MOMENT),
    Column("finished_at", MOMENT),
    Column("purge_at", MOMENT),  # 0 marks a job that is not to be stored: swept `retention.unstored_s` after its end
    Index("ix_jobs_listing", "tenant", "created_at", "id"),
    Index("ix_jobs_status", "status"),
    Index("ix_jobs_beat", "beat_at"),
    Index("ix_jobs_ended", "finished_at", **_only("finished_at IS NOT NULL")),  # or SQLite would take it for all that look for unfinished jobs
    Index("ix_jobs_parent", "parent_id"),
    Index("ix_jobs_root", "root_id", **_only("root_id IS NOT NULL")),
    Index("ix_jobs_unfinished", "tenant", **_UNFINISHED),
    Index("ix_jobs_waiting", "status", "hint_at", **_UNFINISHED),
    Index("ix_jobs_queue", "status", "share_key", "priority", "queued_at", **_UNFINISHED),
    Index("ix_jobs_thread", "thread_id", **_UNFINISHED),
    Index("ix_jobs_schedule", "schedule_id", **_UNFINISHED),
    Index("ix_jobs_deadline", "deadline_at", **_only("finished_at IS NULL AND deadline_at IS NOT NULL")),
    Index("ix_jobs_expiry", "expires_at", **_only("finished_at IS NULL AND expires_at IS NOT NULL")),
    Index("ix_jobs_unstored", "finished_at", sqlite_where=text("purge_at IS NOT NULL"), postgresql_where=text("purge_at IS NOT NULL")),
)

shares: Final = Table(
    "shares",
    METADATA,
    Column("key", Text, primary_key=True),
    _required("served_at", MOMENT),  # when a job of this key was last claimed: keys take turns
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
    _required("state", Text),  # started (the outcome is unknown) or done
    Column("result", JSON),
    _required("epoch", Integer),
    _required("created_at", MOMENT),
)

checkpoints: Final = Table(
    "checkpoints",
    METADATA,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("id", Text, primary_key=True),  # sorts by age
    Column("parent_id", Text),
    _required("kind", Text),  # of the serialised state
    _required("state", LargeBinary),
    _required("metadata", LargeBinary),
    _required("epoch", Integer),
    _required("created_at", MOMENT),
)

checkpoint_writes: Final = Table(
    "checkpoint_writes",
    METADATA,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("checkpoint_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    _required("channel", Text),
    _required("kind", Text),
    _required("value", LargeBinary),
    _required("task_path", Text),
    _required("epoch", Integer),
)

artifacts: Final = Table(
    "artifacts",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("job_id", Text, ForeignKey("jobs.id")),
    _required("content", LargeBinary),
    Index("ix_artifacts_job", "job_id"),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("scope", Text, primary_key=True),  # method and path
    Column("key", Text, primary_key=True),
    _required("fingerprint", Text),
    _required("object_id", Text),  # what the first call made
    _required("expires_at", MOMENT),
    Index("ix_idempotency_keys_expiry", "expires_at"),
)

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    _required("url", Text),
    _required("description", Text),
    _required("events", JSON),  # subscribed types; empty means all
    _required("signing", Text),  # hmac (v1) or ed25519 (v1a)
    _required("secret", LargeBinary),  # sealed
    Column("old_secret", LargeBinary),  # sealed; signs too until old_secret_until
    Column("old_secret_until", MOMENT),
    _required("is_enabled", Boolean),
    Column("disabled_reason", Text),
    Column("failing_since", MOMENT),  # first failure after the newest success
    _required("created_at", MOMENT),
    Index("ix_webhook_endpoints_listing", "tenant", "created_at", "id"),
)

outbox: Final = Table(
    "outbox",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("job_id", Text),
    Column("endpoint_id", Text),  # null for a job's own webhook_url
    _required("tenant", Text),
    _required("url", Text),
    _required("event_type", Text),
    _required("body", LargeBinary),
    _required("state", Text),
    _required("attempt", Integer),  # place in the retry schedule; set back by a redelivery
    _required("tries", Integer),  # attempts in all
    _required("due_at", MOMENT),  # a claim moves it to the end of its lease
    Column("status_code", Integer),
    Column("reason", Text),
    _required("created_at", MOMENT),
    _required("updated_at", MOMENT),
    Index("ix_outbox_due", "state", "due_at"),
    Index("ix_outbox_listing", "tenant", "created_at", "id"),
    Index("ix_outbox_endpoint", "endpoint_id", "created_at"),
)

webhook_attempts: Final = Table(
    "webhook_attempts",
    METADATA,
    Column("delivery_id", Text, ForeignKey("outbox.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("status_code", Integer),
    _required("reason", Text),
    _required("seconds", MOMENT),
    _required("answer", Text),  # start of what the receiver said
    _required("created_at", MOMENT),
)

schedules: Final = Table(
    "schedules",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    Column("key_id", Text),
    _required("name", Text),
    _required("cron", Text),
    _required("timezone", Text),
    _required("request", JSON),
    _required("overlap", Text),
    _required("is_enabled", Boolean),
    Column("next_run_at", MOMENT),
    Column("last_run_at", MOMENT),
    Column("last_job_id", Text),
    Column("last_error", JSON(none_as_null=True)),
    _required("created_at", MOMENT),
    Index("ix_schedules_listing", "tenant", "created_at", "id"),
    Index("ix_schedules_due", "is_enabled", "next_run_at"),
)

responses: Final = Table(
    "responses",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    Column("job_id", Text),  # null when the fast lane answered
    Column("previous_id", Text),
    _required("status", Text),  # of a response without a job
    _required("request", JSON),  # what the answer repeats of the request: model, instructions, metadata, ...
    _required("input", JSON),  # items
    _required("output", JSON),  # items of a response without a job
    Column("usage", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    _required("is_stored", Boolean),
    _required("created_at", MOMENT),
    Column("finished_at", MOMENT),
    Index("ix_responses_job", "job_id"),
    Index("ix_responses_age", "created_at"),
    Index("ix_responses_unstored", "created_at", sqlite_where=text("is_stored = 0"), postgresql_where=text("is_stored = false")),
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
    _required("decision", JSON),  # whole; what follows of it is repeated for counting
    _required("policy_version", Text),
    _required("arm", Text),
    _required("lane", Text),
    _required("band", Text),
    Column("override", Text),
    _required("latency_us", NUMBER),
    _required("text_chars", Integer),
    Column("text", JSON(none_as_null=True)),  # the ask, cut and redacted; null unless prompts are logged
    _required("door", Text),
    _required("created_at", MOMENT),
    Index("ix_decisions_listing", "tenant", "created_at", "id"),
    # Holds all that the figures of a version count, so that the wide rows are not read.
    Index("ix_decisions_stats", "created_at", "policy_version", "arm", "lane", "band", "override", "latency_us"),
)

outcomes: Final = Table(
    "outcomes",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("decision_id", Text),  # of a collected row: of no decision in the log
    _required("tenant", Text),  # the decision's
    _required("kind", Text),
    _required("source", Text),
    _required("status", Text),  # of the label: pending, approved, rejected
    Column("wanted_lane", Text),
    Column("fast_score", NUMBER),
    Column("slow_score", NUMBER),
    Column("text", JSON(none_as_null=True)),  # null: that of the decision
    _required("comment", JSON),
    _required("created_at", MOMENT),
    Index("ix_outcomes_decision", "decision_id", "kind", "source", unique=True),
    Index("ix_outcomes_listing", "created_at", "id"),
    Index("ix_outcomes_status", "status", "created_at", "id"),
    Index("ix_outcomes_kind", "kind", "created_at", "id"),
)

policies: Final = Table(
    "policies",
    METADATA,
    Column("version", Text, primary_key=True),
    _required("number", Integer),
    _required("policy", JSON),
    Column("parent", Text),  # what was active when it was drafted; null: the policy of the settings
    _required("author", Text),
    _required("note", Text),
    _required("created_at", MOMENT),
    Index("ix_policies_number", "number", unique=True),
)

routing_state: Final = Table(
    "routing_state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1: there is one row, made by the first change
    _required("revision", Integer),
    Column("active", Text),
    Column("candidate", Text),
    Column("rollout", JSON(none_as_null=True)),  # of the candidate, without `since`
    Column("candidate_since", MOMENT),
    Column("shadow", Text),
    Column("kill", Text),
)

routing_history: Final = Table(
    "routing_history",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    _required("revision", Integer),  # which the change made; of a draft, which changes nothing, the one that held
    _required("at", MOMENT),
    _required("action", Text),
    Column("version", Text),
    _required("actor", Text),
    _required("detail", JSON),
    Column("active", Text),  # after the change; null too in the line of a draft
    Column("candidate", Text),
    Index("ix_routing_history_revision", "revision", unique=True, **_only("action <> 'draft'")),
    Index("ix_routing_history_active", "active", "revision"),
    Index("ix_routing_history_candidate", "candidate", "revision"),
)

files: Final = Table(
    "files",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    _required("name", Text),
    _required("media_type", Text),
    _required("purpose", Text),
    _required("size", Integer),  # bytes
    _required("sha256", Text),
    _required("created_at", MOMENT),
    Column("expires_at", MOMENT),  # deleted by itself then
    _required("content", LargeBinary),  # last: SQLite reads through a row up to the last column asked for
    Index("ix_files_listing", "tenant", "created_at", "id"),
    Index("ix_files_expiry", "expires_at", **_only("expires_at IS NOT NULL")),
)

memories: Final = Table(
    "memories",
    METADATA,
    Column("id", Text, primary_key=True),
    _required("tenant", Text),
    _required("digest", Text),  # of the text: a fact is kept once
    _required("text", JSON),
    _required("provenance", JSON),
    _required("created_at", MOMENT),
    Index("ix_memories_listing", "tenant", "created_at", "id"),
    Index("ix_memories_digest", "tenant", "digest", unique=True),
)

audit_log: Final = Table(
    "audit_log",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),  # from 1, without gaps
    Column("job_id", Text),  # no foreign key: the record outlives the job
    _required("entry", JSON),
    _required("at", Text),  # as hashed: ISO 8601, UTC
    _required("previous_hash", Text),
    _required("hash", Text),
    Index("ix_audit_log_job", "tenant", "job_id", "seq"),
)

tool_reports: Final = Table(
    "tool_reports",
    METADATA,
    Column("worker", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _required("spec", JSON),
    _required("state", Text),  # offered or unavailable
    _required("reason", Text),
    _required("seen_at", MOMENT),
    Index("ix_tool_reports_age", "seen_at"),
)
