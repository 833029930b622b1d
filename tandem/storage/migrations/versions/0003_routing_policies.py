"""Routing policies with their state and history, outcomes of decisions, and decisions that can be counted per policy version."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.Double[float](asdecimal=False)
NUMBER = sa.Double[float](asdecimal=False)


def upgrade() -> None:
    """Extend the log of decisions without losing a row, then create the new tables."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")  # a long log takes longer than a statement may otherwise
    _extend_decisions()
    _create_outcomes()
    _create_policies()


def _extend_decisions() -> None:
    op.drop_index("ix_decisions_age", "decisions")
    with op.batch_alter_table("decisions") as decisions:
        for name in ("policy_version", "arm", "lane", "band", "override"):
            decisions.add_column(sa.Column(name, sa.Text(), nullable=True))
        decisions.add_column(sa.Column("latency_us", NUMBER, nullable=True))
        decisions.add_column(sa.Column("text", sa.JSON(), nullable=True))
    op.execute(_repeat_what_is_counted())
    with op.batch_alter_table("decisions") as decisions:
        for name in ("policy_version", "arm", "lane", "band", "latency_us"):
            decisions.alter_column(name, nullable=False)
    op.create_index("ix_decisions_stats", "decisions", ["created_at", "policy_version", "arm", "lane", "band", "override", "latency_us"])


def _repeat_what_is_counted() -> sa.Update:
    """Copies from the decision itself; before bands and rollouts there were a lane and one policy."""
    names = ("policy_version", "arm", "lane", "band", "override")
    decisions = sa.table(
        "decisions", sa.column("decision", sa.JSON()), *(sa.column(name, sa.Text()) for name in names), sa.column("latency_us", NUMBER)
    )
    kept = decisions.c.decision
    values: dict[str, Any] = {
        "policy_version": kept["policy_version"].as_string(),
        "arm": sa.func.coalesce(kept["arm"].as_string(), "stable"),
        "lane": kept["lane"].as_string(),
        "band": sa.func.coalesce(kept["band"].as_string(), kept["lane"].as_string()),
        "override": kept["override"].as_string(),
        "latency_us": sa.func.coalesce(kept["latency_us"].as_float(), 0.0),
    }
    return sa.update(decisions).values(values)


def _create_outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("wanted_lane", sa.Text(), nullable=True),
        sa.Column("fast_score", NUMBER, nullable=True),
        sa.Column("slow_score", NUMBER, nullable=True),
        sa.Column("text", sa.JSON(), nullable=True),
        sa.Column("comment", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outcomes"),
    )
    op.create_index("ix_outcomes_decision", "outcomes", ["decision_id", "kind", "source"], unique=True)
    op.create_index("ix_outcomes_listing", "outcomes", ["created_at", "id"])
    op.create_index("ix_outcomes_status", "outcomes", ["status", "created_at", "id"])
    op.create_index("ix_outcomes_kind", "outcomes", ["kind", "created_at", "id"])


def _create_policies() -> None:
    op.create_table(
        "policies",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_policies"),
    )
    op.create_index("ix_policies_number", "policies", ["number"], unique=True)
    op.create_table(
        "routing_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("active", sa.Text(), nullable=True),
        sa.Column("candidate", sa.Text(), nullable=True),
        sa.Column("rollout", sa.JSON(), nullable=True),
        sa.Column("candidate_since", MOMENT, nullable=True),
        sa.Column("shadow", sa.Text(), nullable=True),
        sa.Column("kill", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_routing_state"),
    )
    op.create_table(
        "routing_history",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("active", sa.Text(), nullable=True),
        sa.Column("candidate", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_routing_history"),
    )
    changes: Any = {"sqlite_where": sa.text("action <> 'draft'"), "postgresql_where": sa.text("action <> 'draft'")}
    op.create_index("ix_routing_history_revision", "routing_history", ["revision"], unique=True, **changes)
    op.create_index("ix_routing_history_active", "routing_history", ["active", "revision"])
    op.create_index("ix_routing_history_candidate", "routing_history", ["candidate", "revision"])
