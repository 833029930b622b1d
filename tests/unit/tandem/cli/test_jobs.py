"""Jobs as lists and one by one."""

from collections.abc import Callable
from typing import Protocol

import pytest
from pydantic import JsonValue

from tandem.cli.entry import run

NOW = "2026-01-01T00:00:00Z"
LEASE: dict[str, JsonValue] = {
    "job_id": "job_1", "tenant": "acme", "worker": "w1", "status": "in_progress", "attempt": 2, "lost": 1,
    "held_s": 7_500, "lease_left_s": -4, "silent_s": 700, "is_stuck": True,
}  # fmt: skip
OPERATIONS: dict[str, JsonValue] = {
    "at": NOW, "by_status": {"queued": 3, "in_progress": 1}, "oldest_queued_s": 90, "queued_by_key": {"key_a": 3}, "last_claim_s": 2,
    "leases": [LEASE], "webhooks": {"pending": 4},
}  # fmt: skip
QUESTION: dict[str, JsonValue] = {
    "id": "inp_1", "job_id": "job_1", "key": "k", "kind": "choice", "prompt": "Which one?", "choices": ["red", "blue"],
    "created_at": NOW, "expires_at": "2026-01-02T00:00:00Z",
}  # fmt: skip


class StandIn(Protocol):
    answer: Callable[..., None]
    bodies: list[JsonValue]
    job: Callable[..., dict[str, JsonValue]]


def test_the_list_has_a_line_per_job(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("GET /v1/jobs", {"object": "list", "data": [gateway.job(view={"title": f"{'very ' * 30}long"}), gateway.job(id="job_2")]})
    assert run(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "job_1", "job_2"]
    assert lines[1].endswith("…")


def test_an_empty_list_says_how_to_begin(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("GET /v1/jobs", {"object": "list", "data": []})
    assert run(["jobs"]) == 0
    assert "tandem submit" in capsys.readouterr().out


def test_one_job_shows_plan_attempts_checks_and_answer(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    view: JsonValue = {
        "title": "Pens",
        "plan": [{"id": "s1", "title": "Count", "state": "done"}],
        "attempts": [{"id": "a1", "strategy": "cot", "error": "cut off"}],
    }
    verification: JsonValue = {"level": "V3", "checks": [{"name": "agreement", "level": "V3", "passed": True, "detail": "2 of 2"}]}
    fields: dict[str, JsonValue] = {"status": "completed", "view": view, "verification": verification, "output_text": "12", "confidence": 0.75}
    gateway.answer("GET /v1/jobs/job_1", gateway.job(**fields))
    assert run(["jobs", "job_1"]) == 0
    shown = capsys.readouterr().out
    for part in ("done     Count", "attempt a1 (cot): no answer (cut off)", "agreement (V3): passed 2 of 2", "75% of the votes", "\n12\n"):
        assert part in shown


def test_a_running_job_shows_its_last_event(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    view: JsonValue = {"title": "Pens", "last_event": {"seq": 3, "at": "2026-01-01T00:00:00Z", "text": "trying a program"}}
    gateway.answer("GET /v1/jobs/job_1", gateway.job(status="in_progress", view=view))
    run(["jobs", "job_1"])
    assert "trying a program" in capsys.readouterr().out


def test_a_job_can_be_cancelled(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("POST /v1/jobs/job_1/cancel", gateway.job(status="cancelling"))
    gateway.answer("GET /v1/jobs/job_1", gateway.job(status="cancelling"))
    assert run(["jobs", "job_1", "--cancel"]) == 0
    assert "cancelling" in capsys.readouterr().out


def test_cancelling_needs_an_id(gateway: StandIn) -> None:
    assert run(["jobs", "--cancel"]) == 2


def test_an_unknown_job_is_told(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "job_9"]) == 1
    assert capsys.readouterr().err == "error: no such thing; look again\n"


def test_an_admin_sees_the_queue_and_the_leases_beside_the_list(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("GET /v1/jobs", {"data": [gateway.job(status="in_progress", attempt=2, lost=1), gateway.job(id="job_2", created_at=NOW)]})
    gateway.answer("GET /v1/operations", OPERATIONS)
    assert run(["jobs"]) == 0
    shown = capsys.readouterr()
    assert shown.err.strip() == "3 waiting, the oldest for 90 s; 1 running, 1 stuck; a worker last showed life 2 s ago"
    held, waiting = shown.out.splitlines()[1:]
    assert "2 (1 lost)" in held
    assert "lease ran out 4 s ago, stuck" in held
    assert "waits" in waiting


def test_the_work_at_hand_is_a_table_of_leases(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("GET /v1/operations", OPERATIONS)
    assert run(["jobs", "--operations"]) == 0
    shown = capsys.readouterr().out
    for part in ("waiting by key: key_a 3", "webhooks: 4 pending", "job_1  acme    w1", "2 h", "12 min", "STUCK"):
        assert part in shown


def test_an_ordinary_key_may_not_see_the_work_at_hand(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "--operations"]) == 1
    assert "scope 'admin'" in capsys.readouterr().err


def test_a_quiet_platform_says_so(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    quiet: dict[str, JsonValue] = {"at": NOW, "by_status": {}, "oldest_queued_s": 0, "queued_by_key": {}, "last_claim_s": None, "webhooks": {}}
    gateway.answer("GET /v1/operations", quiet)
    run(["jobs", "--operations"])
    assert capsys.readouterr().out == "0 waiting; 0 running, 0 stuck; no worker was ever seen\nno worker holds a job\n"


def test_one_job_shows_what_it_asks_was_told_and_has_made(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    answered = QUESTION | {"id": "inp_0", "kind": "text", "choices": None, "status": "answered", "value": "by hand"}
    steers: list[JsonValue] = [
        {"id": "str_1", "message": "use metres", "created_at": NOW, "applied_at": NOW, "applied_step": "solve"},
        {"id": "str_2", "message": "and hurry", "created_at": NOW},
    ]
    artifact: JsonValue = {"id": "art_1", "name": "plan.csv", "media_type": "text/csv", "size": 12, "created_at": NOW}
    fields: dict[str, JsonValue] = {
        "status": "input_required", "is_pausing": True, "retry_of": "job_0", "parent_id": "job_p", "schedule_id": "sch_1", "run_at": NOW,
        "deadline": "2026-01-03T00:00:00Z", "inputs": [answered, QUESTION], "inbox": steers, "artifacts": [artifact],
    }  # fmt: skip
    gateway.answer("GET /v1/jobs/job_1", gateway.job(**fields))
    assert run(["jobs", "job_1"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "input_required (pausing)",
        "retry of job_0",
        "part of  job_p",
        "made by  sch_1",
        "not before 2026-01-01 00:00:00 UTC",
        "deadline 2026-01-03 00:00:00 UTC",
        "inp_0  text, answered: Which one?",
        "answer: by hand",
        "inp_1  choice, pending, until 2026-01-02 00:00:00 UTC: Which one?",
        "choices: red, blue",
        "'use metres' (taken up at solve)",
        "'and hurry' (not taken up yet)",
        "art_1  plan.csv (text/csv, 12 bytes)",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("option", "door", "body"),
    [(["--pause"], "pause", []), (["--resume"], "resume", []), (["--steer", "use metres"], "steer", [{"message": "use metres"}])],
)
def test_a_job_is_acted_on_and_then_shown(
    gateway: StandIn, capsys: pytest.CaptureFixture[str], option: list[str], door: str, body: list[JsonValue]
) -> None:
    steer: JsonValue = {"id": "str_1", "message": "use metres", "created_at": NOW}
    gateway.answer(f"POST /v1/jobs/job_1/{door}", steer if door == "steer" else gateway.job())
    gateway.answer("GET /v1/jobs/job_1", gateway.job(status="paused"))
    assert run(["jobs", "job_1", *option]) == 0
    assert gateway.bodies == body
    assert "job_1  paused" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "body"), [([], []), (["--from-start"], [{"from": "start"}])])
def test_a_retry_shows_the_new_job(gateway: StandIn, capsys: pytest.CaptureFixture[str], option: list[str], body: list[JsonValue]) -> None:
    gateway.answer("POST /v1/jobs/job_1/retry", gateway.job(id="job_2"), 202)
    gateway.answer("GET /v1/jobs/job_2", gateway.job(id="job_2", retry_of="job_1"))
    assert run(["jobs", "job_1", "--retry", *option]) == 0
    assert gateway.bodies == body
    assert "retry of job_1" in capsys.readouterr().out


FORM = QUESTION | {"kind": "form", "choices": None}
APPROVAL = QUESTION | {"kind": "approval", "choices": None}


@pytest.mark.parametrize(
    ("question", "words", "body"),
    [
        (QUESTION, "red", {"value": "red"}),
        (FORM, '{"size": 3}', {"value": {"size": 3}}),
        (APPROVAL, "approve", {"decision": "approve"}),
        (APPROVAL, "reject", {"decision": "reject"}),
        (APPROVAL, '{"steps": 2}', {"decision": "edit", "value": {"steps": 2}}),
    ],
)
def test_the_open_question_is_answered_in_its_kind(gateway: StandIn, question: dict[str, JsonValue], words: str, body: JsonValue) -> None:
    gateway.answer("GET /v1/jobs/job_1/inputs", {"data": [QUESTION | {"id": "inp_0", "status": "expired"}, question]})
    gateway.answer("POST /v1/jobs/job_1/inputs/inp_1", question | {"status": "answered"})
    gateway.answer("GET /v1/jobs/job_1", gateway.job())
    assert run(["jobs", "job_1", "--answer", words]) == 0
    assert gateway.bodies == [body]


@pytest.mark.parametrize(
    ("questions", "options", "code", "told"),
    [
        ([], [], 1, "asks nothing"),
        ([QUESTION, QUESTION | {"id": "inp_2"}], [], 2, "inp_1, inp_2"),
        ([QUESTION], ["--input", "inp_9"], 2, "has not asked"),
        ([FORM], [], 2, "as JSON"),
        ([APPROVAL], [], 2, "approve, reject"),
    ],
)
def test_an_answer_that_fits_no_question_is_refused(
    gateway: StandIn, capsys: pytest.CaptureFixture[str], questions: list[JsonValue], options: list[str], code: int, told: str
) -> None:
    gateway.answer("GET /v1/jobs/job_1/inputs", {"data": questions})
    assert run(["jobs", "job_1", "--answer", "red", *options]) == code
    assert told in capsys.readouterr().err
    assert gateway.bodies == []


def test_two_wishes_at_once_are_refused(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "job_1", "--pause", "--cancel"]) == 2
    assert "--cancel and --pause exclude each other" in capsys.readouterr().err
