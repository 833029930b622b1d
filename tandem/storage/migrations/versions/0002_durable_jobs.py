"""Durable jobs: waiting states, families, inputs, checkpoints, artifacts; webhook endpoints and their log; schedules; responses."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.Double[float](asdecimal=False)


def upgrade() -> None:
    """Change what 0001 made without losing a row, then create the new tables."""
    _extend_jobs()
    _extend_effects()
    _rebuild_idempotency_keys()
    _rebuild_outbox()
    _create_shares()
    _create_checkpoints()
    _create_artifacts()
    _create_webhooks()
    _create_schedules()
    _create_responses()
    op.create_index("ix_decisions_age", "decisions", ["created_at"])


def _extend_jobs() -> None:
    texts = ("response_id", "parent_id", "root_id", "retry_of", "schedule_id", "open_item")
    moments = ("event_at", "deferred_since", "pause_requested_at", "run_at", "deadline_at", "expires_at", "queued_at", "purge_at")
    with op.batch_alter_table("jobs") as jobs:
        for name in texts:
            jobs.add_column(sa.Column(name, sa.Text(), nullable=True))
        for name in moments:
            jobs.add_column(sa.Column(name, MOMENT, nullable=True))
        jobs.add_column(sa.Column("is_rollback", sa.Boolean(), nullable=True))
        jobs.add_column(sa.Column("share_key", sa.Text(), nullable=False, server_default=""))
        jobs.add_column(sa.Column("items", sa.Integer(), nullable=False, server_default="0"))
        for name in ("inputs", "inbox", "artifacts"):
            jobs.add_column(sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
    op.execute("UPDATE jobs SET share_key = COALESCE(key_id, tenant), queued_at = created_at")
    with op.batch_alter_table("jobs") as jobs:
        for name in ("share_key", "items", "inputs", "inbox", "artifacts"):
            jobs.alter_column(name, server_default=None)
    is_open: Any = {"sqlite_where": sa.text("finished_at IS NULL"), "postgresql_where": sa.text("finished_at IS NULL")}
    is_ended = sa.text("finished_at IS NOT NULL")
    op.create_index("ix_jobs_ended", "jobs", ["finished_at"], sqlite_where=is_ended, postgresql_where=is_ended)
    op.create_index("ix_jobs_parent", "jobs", ["parent_id"])
    is_child = sa.text("root_id IS NOT NULL")
    op.create_index("ix_jobs_root", "jobs", ["root_id"], sqlite_where=is_child, postgresql_where=is_child)
    op.create_index("ix_jobs_queue", "jobs", ["status", "share_key", "priority", "queued_at"], **is_open)
    op.create_index("ix_jobs_schedule", "jobs", ["schedule_id"], **is_open)
    for name, column in (("deadline", "deadline_at"), ("expiry", "expires_at")):
        is_set = sa.text(f"finished_at IS NULL AND {column} IS NOT NULL")
        op.create_index(f"ix_jobs_{name}", "jobs", [column], sqlite_where=is_set, postgresql_where=is_set)
    is_unstored: Any = {"sqlite_where": sa.text("purge_at IS NOT NULL"), "postgresql_where": sa.text("purge_at IS NOT NULL")}
    op.create_index("ix_jobs_unstored", "jobs", ["finished_at"], **is_unstored)


def _extend_effects() -> None:
    with op.batch_alter_table("effects") as effects:
        effects.add_column(sa.Column("state", sa.Text(), nullable=False, server_default="done"))
        effects.alter_column("result", nullable=True)
    with op.batch_alter_table("effects") as effects:
        effects.alter_column("state", server_default=None)


def _rebuild_idempotency_keys() -> None:
    op.create_table(
        "new_idempotency_keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "scope", "key", name="pk_new_idempotency_keys"),
    )
    op.execute("INSERT INTO new_idempotency_keys SELECT tenant, 'POST /v1/jobs', key, fingerprint, job_id, expires_at FROM idempotency_keys")
    op.drop_table("idempotency_keys")
    op.rename_table("new_idempotency_keys", "idempotency_keys")
    _rename_key("idempotency_keys")
    op.create_index("ix_idempotency_keys_expiry", "idempotency_keys", ["expires_at"])


def _rebuild_outbox() -> None:
    op.drop_index("ix_outbox_due", "outbox")
    op.create_table(
        "new_outbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("endpoint_id", sa.Text(), nullable=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_new_outbox"),
    )
    op.execute(
        "INSERT INTO new_outbox SELECT o.id, o.job_id, NULL, o.tenant, o.url, 'response.' || j.status, o.body, o.state, o.attempt, o.attempt,"
        " o.due_at, o.status_code, o.reason, o.created_at, o.updated_at FROM outbox o JOIN jobs j ON j.id = o.job_id"
    )
    op.drop_table("outbox")
    op.rename_table("new_outbox", "outbox")
    _rename_key("outbox")
    op.create_index("ix_outbox_due", "outbox", ["state", "due_at"])
    op.create_index("ix_outbox_listing", "outbox", ["tenant", "created_at", "id"])
    op.create_index("ix_outbox_endpoint", "outbox", ["endpoint_id", "created_at"])


def _rename_key(table: str) -> None:
    """PostgreSQL keeps the constraint's first name; SQLite has none to keep."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT pk_new_{table} TO pk_{table}")


def _create_shares() -> None:
    op.create_table(
        "shares",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("served_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_shares"),
    )


def _create_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_checkpoints_job_id"),
        sa.PrimaryKeyConstraint("job_id", "namespace", "id", name="pk_checkpoints"),
    )
    op.create_table(
        "checkpoint_writes",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("checkpoint_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("task_path", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_checkpoint_writes_job_id"),
        sa.PrimaryKeyConstraint("job_id", "namespace", "checkpoint_id", "task_id", "place", name="pk_checkpoint_writes"),
    )


def _create_artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_artifacts_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_job", "artifacts", ["job_id"])


def _create_webhooks() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("signing", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_secret_until", MOMENT, nullable=True),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_index("ix_webhook_endpoints_listing", "webhook_endpoints", ["tenant", "created_at", "id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seconds", MOMENT, nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["outbox.id"], name="fk_webhook_attempts_delivery_id"),
        sa.PrimaryKeyConstraint("delivery_id", "number", name="pk_webhook_attempts"),
    )


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("next_run_at", MOMENT, nullable=True),
        sa.Column("last_run_at", MOMENT, nullable=True),
        sa.Column("last_job_id", sa.Text(), nullable=True),
        sa.Column("last_error", sa.JSON(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    op.create_index("ix_schedules_listing", "schedules", ["tenant", "created_at", "id"])
    op.create_index("ix_schedules_due", "schedules", ["is_enabled", "next_run_at"])


def _create_responses() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("previous_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("is_stored", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_responses"),
    )
    op.create_index("ix_responses_job", "responses", ["job_id"])
    op.create_index("ix_responses_age", "responses", ["created_at"])
    is_unstored: Any = {"sqlite_where": sa.text("is_stored = 0"), "postgresql_where": sa.text("is_stored = false")}
    op.create_index("ix_responses_unstored", "responses", ["created_at"], **is_unstored)
