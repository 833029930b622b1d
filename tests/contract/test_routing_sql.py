"""What the log of decisions, its outcomes and the policies ask of a database: few statements, each of which walks an index."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tandem.ports import Storage
from tandem.schemas.policies import RoutingPolicy
from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage
from tandem.testing.samples import ALICE, Samples, routed
from tandem.testing.statements import plans_of, watched_selects


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tandem.sqlite3"


@pytest.fixture
async def storage(path: Path, samples: Samples) -> AsyncIterator[Storage]:
    """A database with five policies, of which two were published, and as many decisions and outcomes."""
    storage = open_storage(Settings(database=DatabaseSettings(url=SecretStr(f"sqlite:///{path}"), synchronous="normal")))
    await storage.migrate()
    versions = [samples.ids.policy_version() for _ in range(5)]
    for version in versions:
        await storage.policies.add(version, RoutingPolicy(), author="key_1", note="")
    for revision, version in enumerate(versions[:2]):
        await storage.policies.change(routed(version), expected_revision=revision)
    logged = [samples.logged(text="2 + 3?") for _ in range(5)]
    await storage.decisions.add(logged)
    await storage.outcomes.add([samples.outcome(each.id) for each in logged])
    yield storage
    await storage.close()


async def test_the_state_is_one_row_of_one_statement(path: Path, storage: Storage) -> None:
    with watched_selects() as selects:
        await storage.policies.state()
    assert list(plans_of(path, selects).values()) == ["SEARCH routing_state USING INTEGER PRIMARY KEY (rowid=?)"]


async def test_a_listing_takes_the_same_statements_however_long(storage: Storage) -> None:
    counts: list[int] = []
    for limit in (1, 5):
        with watched_selects() as selects:
            assert len(await storage.policies.list(after=None, limit=limit)) == limit
            assert len(await storage.outcomes.list(status=None, kind=None, after=None, limit=limit)) == limit
            assert len(await storage.decisions.since(60, limit)) == limit
        counts.append(len(selects))
    assert counts == [4, 4]


async def test_every_read_walks_an_index_in_order(path: Path, storage: Storage, samples: Samples) -> None:
    (newest,) = await storage.decisions.recent(ALICE, 1)
    page = await storage.policies.list(after=None, limit=2)
    label = samples.outcome(newest.id)
    await storage.outcomes.add([label])
    with watched_selects() as selects:
        await storage.decisions.recent(ALICE, 5)
        await storage.decisions.get(newest.id, ALICE)
        await storage.decisions.since(60, 5)
        await storage.policies.list(after=page[-1].version, limit=5)
        await storage.policies.history(before=5, limit=5)
        await storage.outcomes.list(status=None, kind=None, after=label.id, limit=5)
        await storage.outcomes.list(status="pending", kind=None, after=label.id, limit=5)
        await storage.outcomes.list(status=None, kind="thumbs_up", after=label.id, limit=5)
        await storage.outcomes.list(status="pending", kind="thumbs_up", after=label.id, limit=5)
    plans = plans_of(path, selects)
    assert len(plans) >= 10
    for sql, plan in plans.items():
        assert "INDEX" in plan or "PRIMARY KEY" in plan, (sql, plan)
        assert "SCAN routing_history" not in plan, (sql, plan)
        assert "SCAN decisions" not in plan, (sql, plan)
        assert "TEMP B-TREE FOR ORDER BY" not in plan, (sql, plan)


async def test_figures_come_from_the_index_and_begin_at_the_outcomes(path: Path, storage: Storage) -> None:
    with watched_selects() as selects:
        await storage.decisions.stats(60)
    made, learnt = plans_of(path, selects).values()
    assert "SEARCH decisions USING COVERING INDEX ix_decisions_stats (created_at>?)" in made
    assert "SEARCH outcomes USING INDEX ix_outcomes_listing (created_at>?)" in learnt
    assert "SCAN" not in learnt


async def test_a_time_of_jobs_is_found_through_the_index_of_ends(path: Path, storage: Storage) -> None:
    with watched_selects() as selects:
        await storage.decisions.job_times(60)
    (plan,) = plans_of(path, selects).values()
    assert "ix_jobs_ended" in plan
    assert "SCAN jobs" not in plan
