"""The audit of a database: it passes over what the stores write, and sees each fault that is planted."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr

from tandem.cli.entry import run
from tandem.ids import InputId, JobId
from tandem.ports import Claim, NewEvent, Outcome, Parking, Storage, StoredCheckpoint, StoredWrite
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAnswer, InputAsk
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus
from tandem.schemas.policies import RoutingPolicy
from tandem.settings import DatabaseSettings
from tandem.storage.engine import Database
from tandem.storage.invariants import audit, check_invariants
from tandem.testing.samples import ALICE, Samples, routed

DONE = Outcome(JobStatus.COMPLETED, JobResult(output_text="5"))
HOOK = "https://example.org/hook"

WORDS = {
    "ended": "(SELECT id FROM jobs WHERE status = 'completed')",
    "running": "(SELECT id FROM jobs WHERE status = 'in_progress')",
    "asking": "(SELECT id FROM jobs WHERE status = 'input_required')",
}
"""What stands for the names in braces: jobs of the database that is ``busy``."""


_EVENT = """INSERT INTO events (stream_id, seq, type, data, created_at, epoch)
    VALUES (@job, (SELECT max(seq) + 1 FROM events WHERE stream_id = @job), '@kind', '@data', 0, @epoch)"""


def event(job: str, kind: str, data: str = "{{}}", epoch: str = "NULL") -> str:
    """SQL that writes one more event into the job's log, without counting it."""
    return _EVENT.replace("@job", job).replace("@kind", kind).replace("@data", data).replace("@epoch", epoch)


PLANTS: Final[Mapping[str, Sequence[str]]] = {
    "not_one_end": ["UPDATE events SET type = 'response.tandem.changed' WHERE stream_id = {ended} AND type = 'response.completed'"],
    "end_before_end": [event("{running}", "response.failed"), "UPDATE jobs SET last_seq = last_seq + 1 WHERE id = {running}"],
    "end_differs": ["UPDATE events SET type = 'response.failed' WHERE stream_id = {ended} AND type = 'response.completed'"],
    "status_without_time": ["UPDATE jobs SET finished_at = NULL WHERE id = {ended}"],
    "event_after_end": [event("{ended}", "response.tandem.changed"), "UPDATE jobs SET last_seq = last_seq + 1 WHERE id = {ended}"],
    "gap_in_log": ["DELETE FROM events WHERE stream_id = {ended} AND seq = 2"],
    "last_number_differs": ["UPDATE jobs SET last_seq = last_seq + 1 WHERE id = {running}"],
    "not_created_first": ["UPDATE events SET type = 'response.queued' WHERE stream_id = {running} AND seq = 0"],
    "log_of_nobody": ["INSERT INTO events (stream_id, seq, type, data, created_at) VALUES ('job_gone', 0, 'response.created', '{{}}', 0)"],
    "no_webhook": ["DELETE FROM outbox WHERE event_type = 'response.completed'"],
    "webhook_twice": [
        "INSERT INTO outbox (id, job_id, tenant, url, event_type, body, state, attempt, tries, due_at, created_at, updated_at) "
        "SELECT 'dlv_2', job_id, tenant, url, event_type, body, state, 0, 0, 0, 0, 0 FROM outbox WHERE event_type = 'response.completed'"
    ],
    "epoch_goes_back": [event("{running}", "response.tandem.changed", epoch="0"), "UPDATE jobs SET last_seq = last_seq + 1 WHERE id = {running}"],
    "epoch_ahead": [event("{running}", "response.tandem.changed", epoch="99"), "UPDATE jobs SET last_seq = last_seq + 1 WHERE id = {running}"],
    "two_owners": [
        event("{running}", "response.tandem.attempt.started", epoch="(SELECT epoch FROM jobs WHERE id = {running})"),
        "UPDATE jobs SET attempt = attempt + 1, last_seq = last_seq + 1 WHERE id = {running}",
    ],
    "held_by_nobody": ["UPDATE jobs SET lease_until = NULL WHERE id = {running}"],
    "held_while_waiting": ["UPDATE jobs SET owner = 'w1' WHERE id = {asking}"],
    "attempts_differ": ["UPDATE jobs SET attempt = attempt + 1 WHERE id = {running}"],
    "losses_differ": ["UPDATE jobs SET lost = lost + 1 WHERE id = {running}"],
    "unknown_outcome": ["UPDATE effects SET state = 'started' WHERE job_id = {ended}"],
    "answered_twice": [
        event("{running}", "response.tandem.input_received", '{{"input_id":"inp_1"}}'),
        event("{running}", "response.tandem.input_received", '{{"input_id":"inp_1"}}'),
        "UPDATE jobs SET last_seq = last_seq + 2 WHERE id = {running}",
    ],
    "asks_nothing": ["UPDATE jobs SET inputs = '[]' WHERE id = {asking}"],
    "asks_after_end": ["UPDATE jobs SET inputs = (SELECT inputs FROM jobs WHERE status = 'input_required') WHERE id = {ended}"],
    "state_ahead": ["UPDATE checkpoints SET epoch = 99 WHERE job_id = {running}"],
    "state_after_completion": ["UPDATE checkpoints SET job_id = {ended}, epoch = 1 WHERE job_id = {running}"],
    "routing_names_nobody": ["UPDATE routing_state SET shadow = 'pol_gone'"],
    "gap_in_routing_history": [
        "DELETE FROM routing_history WHERE revision = 1 AND action = 'publish'",
        "UPDATE routing_history SET number = number - 1 WHERE number > 3",
    ],
    "routing_differs": ["UPDATE routing_state SET revision = revision + 1"],
    "gap_in_policies": ["UPDATE policies SET number = 9 WHERE number = 3"],
    "outcome_of_nobody": ["UPDATE outcomes SET decision_id = 'dec_zz' WHERE kind = 'thumbs_down'"],
    "outcome_of_another_tenant": ["UPDATE outcomes SET tenant = 'mallory' WHERE kind = 'thumbs_down'"],
    "text_differs": [
        "DELETE FROM events WHERE stream_id = {ended} AND seq = 5",
        "UPDATE events SET seq = seq - 1 WHERE stream_id = {ended} AND seq > 5",
        "UPDATE jobs SET last_seq = last_seq - 1 WHERE id = {ended}",
    ],
}
"""How each rule is broken."""
VARIANTS: Final[Sequence[tuple[str, str]]] = (
    ("routing_names_nobody", "DELETE FROM policies WHERE number = 3"),
    ("routing_differs", "UPDATE routing_state SET active = NULL"),
    ("routing_differs", "UPDATE routing_state SET candidate = active"),
    ("routing_differs", "DELETE FROM routing_state"),
    ("routing_differs", "DELETE FROM routing_history WHERE revision = 2"),
    ("gap_in_routing_history", "DELETE FROM routing_history WHERE number = 2"),
)
"""Other ways to break a rule that has several conditions."""
IMPLIED: Final = {"status_without_time": ["end_before_end"]}
"""Rules that the same fault breaks too."""


def message(index: int, *texts: str, is_done: bool = True) -> list[NewEvent]:
    """A message in pieces."""
    place = {"item_id": f"msg_{index}", "output_index": index}
    deltas = [NewEvent(JobEvent.TEXT_DELTA, {**place, "delta": each}) for each in texts]
    done = [NewEvent(JobEvent.TEXT_DONE, {**place, "text": "".join(texts)}), NewEvent(JobEvent.ITEM_DONE, {**place, "item_type": "message"})]
    return [NewEvent(JobEvent.ITEM_ADDED, {**place, "item_type": "message"}), *deltas, *(done if is_done else [])]


async def claimed(storage: Storage, samples: Samples, lease_s: float = 60.0, webhook_url: str | None = None) -> Claim:
    new = samples.job(webhook_url=webhook_url)
    await storage.jobs.create(new, max_unfinished=100)
    return await claimed_again(storage, new.id, lease_s)


async def claimed_again(storage: Storage, job_id: JobId, lease_s: float = 60.0) -> Claim:
    claim = await storage.work.claim("w1", lease_s, 5, job_id=job_id)
    assert claim is not None
    return claim


@pytest.fixture
async def busy(storage: Storage, samples: Samples) -> Storage:
    """A database in use: one job completed, one running, one asking, one queued, one failed, one cancelled."""
    done = await claimed(storage, samples, webhook_url=HOOK)
    await storage.work.append(done.job_id, done.epoch, message(0, "Fi", "ve", " 五"))
    await storage.work.record_effect(done.job_id, done.epoch, "step", 1)
    await storage.work.finish(done.job_id, done.epoch, DONE)
    lost = await claimed(storage, samples, lease_s=0.0)
    await storage.work.append(lost.job_id, lost.epoch, message(0, "half", is_done=False))
    running = await claimed_again(storage, lost.job_id)
    await storage.work.append(running.job_id, running.epoch, message(1, "wh", "ole"))
    await storage.work.checkpoints.put(running.job_id, running.epoch, StoredCheckpoint("", "1", None, "msgpack", b"", b""))
    await storage.work.checkpoints.put_writes(running.job_id, running.epoch, "", "1", [StoredWrite("t", 0, "c", "msgpack", b"")])
    asking = await claimed(storage, samples, webhook_url=HOOK)
    await storage.work.park(asking.job_id, asking.epoch, Parking(JobStatus.INPUT_REQUIRED, [InputAsk(key="k", kind="text", prompt="?")], wait_s=60))
    released = await claimed(storage, samples)
    await storage.work.release(released.job_id, released.epoch)
    failed = await claimed(storage, samples)
    await storage.work.park(failed.job_id, failed.epoch, Parking(JobStatus.INPUT_REQUIRED, [InputAsk(key="k", kind="text", prompt="?")], wait_s=60))
    (asked,) = (await storage.jobs.get(failed.job_id, ALICE)).inputs
    await storage.jobs.answer(failed.job_id, ALICE, InputId(asked.id), InputAnswer(value="yes"))
    again = await claimed_again(storage, failed.job_id)
    await storage.work.begin_effect(again.job_id, again.epoch, "send")
    await storage.work.finish(again.job_id, again.epoch, Outcome(JobStatus.FAILED, error=JobFailure(code="x", message="y")))
    cancelled = await claimed(storage, samples)
    await storage.jobs.request_cancel(cancelled.job_id, ALICE)
    await storage.work.finish(cancelled.job_id, cancelled.epoch, DONE)
    await route(storage, samples)
    return storage


async def route(storage: Storage, samples: Samples) -> None:
    """Three policies, of which two were published, and what users and collectors say of decisions."""
    first, second, third = [samples.ids.policy_version() for _ in range(3)]
    for version in (first, second, third):
        await storage.policies.add(version, RoutingPolicy(), author="key_1", note="")
    await storage.policies.change(routed(first), expected_revision=0)
    await storage.policies.change(routed(first, candidate=second, shadow=third), expected_revision=1)
    swept, kept = samples.logged(), samples.logged()
    await storage.decisions.add([kept])
    outcomes = [samples.outcome(kept.id, "thumbs_down"), samples.outcome(swept.id), samples.outcome(samples.ids.decision(), status="approved")]
    collected = samples.outcome(samples.ids.decision(), "answer_scored", source="collect", text="2 + 3?")
    await storage.outcomes.add([*outcomes, collected])


async def plant(database_url: str, statements: Sequence[str]) -> None:
    database = Database(database_url, DatabaseSettings(url=SecretStr(database_url)))
    for statement in statements:
        await database.write(lambda connection, statement=statement: connection.exec_driver_sql(statement.format(**WORDS)))
    await database.close()


async def test_what_the_stores_write_breaks_no_rule(busy: Storage, database_url: str) -> None:
    found = await audit(database_url)
    assert list(found.violations) == []
    assert {name: found.counts[name] for name in ("jobs completed", "jobs in_progress", "lost attempts", "effects done", "effects started")} == {
        "jobs completed": 1,
        "jobs in_progress": 1,
        "lost attempts": 1,
        "effects done": 1,
        "effects started": 1,
    }
    assert {name: found.counts[name] for name in ("decisions", "outcomes pending", "outcomes approved", "policy versions")} == {
        "decisions": 1,
        "outcomes pending": 3,
        "outcomes approved": 1,
        "policy versions": 3,
    }
    assert (found.counts["attempts"], found.counts["checkpoints"], found.counts["deliveries pending"]) == (8, 1, 2)


async def test_every_rule_has_its_planted_fault(busy: Storage, database_url: str) -> None:
    assert set((await audit(database_url)).checks) == set(PLANTS)


@pytest.mark.parametrize("rule", PLANTS)
async def test_a_planted_fault_is_found(busy: Storage, database_url: str, rule: str) -> None:
    await plant(database_url, PLANTS[rule])
    found = await check_invariants(database_url)
    assert {each.check for each in found} == {rule, *IMPLIED.get(rule, ())}
    assert all(each.subject and each.detail and each.meaning for each in found)


@pytest.mark.parametrize(("rule", "statement"), VARIANTS)
async def test_each_condition_of_a_rule_counts(busy: Storage, database_url: str, rule: str, statement: str) -> None:
    await plant(database_url, [statement])
    assert [each.check for each in await check_invariants(database_url)] == [rule]


async def test_a_swept_log_of_decisions_breaks_no_rule(busy: Storage, database_url: str) -> None:
    await plant(database_url, ["DELETE FROM decisions"])
    assert await check_invariants(database_url) == []


def test_the_command_says_what_is_broken_and_fails(busy: Storage, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "--database-url", database_url]) == 0
    assert "0 broken" in capsys.readouterr().out
    asyncio.run(plant(database_url, PLANTS["gap_in_log"]))
    assert run(["audit", "--database-url", database_url]) == 1
    said = capsys.readouterr().out
    assert "The numbers of a log have no gap." in said
    assert "10 events from 0 to 10" in said
    assert run(["audit", "--database-url", database_url, "--json"]) == 1
    (violation,) = json.loads(capsys.readouterr().out)["violations"]
    assert violation["check"] == "gap_in_log"


def test_the_command_makes_no_database_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "--database-url", f"sqlite:///{tmp_path / 'absent.sqlite3'}"]) == 1
    assert "there is no database file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


async def test_the_audit_changes_nothing_and_runs_beside_writers(busy: Storage, database_url: str, samples: Samples) -> None:
    async def write() -> None:
        for _ in range(20):
            claim = await claimed(busy, samples)
            await busy.work.append(claim.job_id, claim.epoch, message(0, "a", "b"))
            await busy.work.finish(claim.job_id, claim.epoch, DONE)

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await check_invariants(database_url) == []
    await writing


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////nowhere/at.all", "oracle://host/name", ""])
def test_the_audit_of_what_is_no_database_is_refused_in_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "--database-url", url]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert len(shown.err.strip().splitlines()) == 1
    assert not shown.out
