"""What tools need: the grant frozen with a job, uploaded files, memories, the audit log, and what workers offer."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

MOMENT = sa.Double[float](asdecimal=False)


def upgrade() -> None:
    """Add one column to jobs, then create the new tables."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("tools", sa.JSON(none_as_null=True), nullable=True))
    _create_files()
    _create_memories()
    _create_audit_log()
    _create_tool_reports()


def _create_files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_listing", "files", ["tenant", "created_at", "id"])
    expiring = sa.text("expires_at IS NOT NULL")
    op.create_index("ix_files_expiry", "files", ["expires_at"], sqlite_where=expiring, postgresql_where=expiring)


def _create_memories() -> None:
    op.create_table(
        "memories",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("text", sa.JSON(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_memories"),
    )
    op.create_index("ix_memories_listing", "memories", ["tenant", "created_at", "id"])
    op.create_index("ix_memories_digest", "memories", ["tenant", "digest"], unique=True)


def _create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_job", "audit_log", ["tenant", "job_id", "seq"])


def _create_tool_reports() -> None:
    op.create_table(
        "tool_reports",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("worker", "name", name="pk_tool_reports"),
    )
    op.create_index("ix_tool_reports_age", "tool_reports", ["seen_at"])
