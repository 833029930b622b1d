"""A job's course from its events and its ledger."""

from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from gateway.traces import Course, Steps
from tandem.ports import Effect
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import Job
from tandem.schemas.traces import Span

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def job(**fields: JsonValue) -> Job:
    base: dict[str, JsonValue] = {"id": "job_1", "status": "in_progress", "created_at": START.isoformat(), "effort": "low", "last_seq": 9}
    return Job.model_validate(base | {"request": {"input": "x"}, "view": {"title": "Sum"}} | fields)


def log(*told: tuple[float, str, dict[str, JsonValue]]) -> list[Event]:
    return [
        Event(type=kind, sequence_number=number, created_at=at(second), stream_id="job_1", data=data)
        for number, (second, kind, data) in enumerate(told)
    ]


def spans(events: list[Event], *effects: Effect, of: Job | None = None) -> list[Span]:
    course = Course(of or job())
    for event in events:  # pages of one
        course.feed([event])
    return course.spans(effects)


def named(found: list[Span], name: str) -> list[Span]:
    return [span for span in found if span.name == name]


def test_a_smooth_run_is_a_tree() -> None:
    found = spans(log(
        (0, JobEvent.CREATED, {}),
        (0, JobEvent.QUEUED, {}),
        (1, JobEvent.ATTEMPT_STARTED, {"attempt": 1}),
        (2, JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Add"}),
        (3, JobEvent.TOOL_STARTED, {"tool": "python", "call_id": "c"}),
        (4, JobEvent.TOOL_COMPLETED, {"tool": "python", "call_id": "c", "ok": False, "summary": "NameError"}),
        (5, JobEvent.VERIFICATION_PASSED, {"name": "agreement", "level": "V2", "passed": True, "detail": ""}),
        (6, JobEvent.STEP_COMPLETED, {"step_id": "s1", "title": "Add", "note": "4"}),
        (7, JobEvent.COMPLETED, {}),
    ), of=job(status="completed", finished_at=at(7).isoformat()))  # fmt: skip
    root, attempt, step, tool, check = found
    assert (root.id, root.kind, root.status, root.ended_at, root.parent_id) == ("job_1", "job", "completed", at(7), None)
    assert (attempt.kind, attempt.parent_id, attempt.started_at, attempt.ended_at, attempt.status) == ("attempt", "job_1", at(1), at(7), "ok")
    assert (step.parent_id, step.status, step.ended_at, step.data) == (attempt.id, "ok", at(6), {"step_id": "s1", "note": "4"})
    assert (tool.kind, tool.parent_id, tool.status, tool.data) == ("tool", step.id, "failed", {"summary": "NameError"})
    assert (check.kind, check.parent_id, check.started_at, check.ended_at, check.data) == ("check", step.id, at(5), at(5), {"level": "V2"})


def test_a_lost_attempt_ends_what_it_left_open_and_the_step_begins_anew() -> None:
    found = spans(log(
        (1, JobEvent.ATTEMPT_STARTED, {"attempt": 1}),
        (2, JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Add"}),
        (9, JobEvent.ATTEMPT_LOST, {"attempt": 1}),
        (9, JobEvent.ATTEMPT_STARTED, {"attempt": 2}),
        (10, JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Add"}),
    ))  # fmt: skip
    first, second = named(found, "Add")
    assert [span.status for span in found if span.kind == "attempt"] == ["lost", "running"]
    assert (first.status, first.ended_at) == ("stopped", at(9))
    assert (second.status, second.ended_at) == ("running", None)
    assert first.parent_id != second.parent_id
    assert len({span.id for span in found}) == len(found)


def test_a_question_lasts_from_asking_to_its_end_and_holds_no_attempt() -> None:
    found = spans(log(
        (1, JobEvent.ATTEMPT_STARTED, {"attempt": 1}),
        (2, JobEvent.INPUT_REQUIRED, {"id": "inp_1", "key": "a", "kind": "text", "prompt": "Why?"}),
        (2, JobEvent.INPUT_REQUIRED, {"id": "inp_2", "key": "b", "kind": "text", "prompt": "How?"}),
        (2, JobEvent.INPUT_REQUIRED, {"id": "inp_3", "key": "c", "kind": "text", "prompt": "When?"}),
        (2, JobEvent.INPUT_REQUIRED, {"id": "inp_4", "key": "d", "kind": "approval", "prompt": "Shall I?"}),
        (5, JobEvent.INPUT_RECEIVED, {"input_id": "inp_1", "key": "a", "decision": None, "value": "secret words"}),
        (6, JobEvent.INPUT_EXPIRED, {"input_id": "inp_2", "key": "b"}),
        (7, JobEvent.INPUT_RECEIVED, {"input_id": "inp_4", "key": "d", "decision": "approve", "value": None}),
        (8, JobEvent.CANCELLED, {}),
    ))  # fmt: skip
    [attempt] = [span for span in found if span.kind == "attempt"]
    assert (attempt.ended_at, attempt.status) == (at(2), "ok")
    ends = {span.name: (span.status, span.ended_at, span.parent_id) for span in found if span.kind == "input"}
    assert ends == {
        "Why?": ("answered", at(5), "job_1"),
        "How?": ("expired", at(6), "job_1"),
        "Shall I?": ("answered", at(7), "job_1"),
        "When?": ("withdrawn", at(8), "job_1"),
    }
    assert "secret words" not in str(found)
    assert named(found, "Shall I?")[0].data["decision"] == "approve"


def test_an_open_question_is_pending() -> None:
    found = spans(log((2, JobEvent.INPUT_REQUIRED, {"id": "inp_1", "key": "a", "kind": "text", "prompt": "Why?"})))
    assert named(found, "Why?")[0].status == "pending"


def test_a_paused_a_released_and_a_failed_attempt_end() -> None:
    found = spans(log(
        (1, JobEvent.ATTEMPT_STARTED, {"attempt": 1}),
        (2, JobEvent.PAUSED, {}),
        (3, JobEvent.ATTEMPT_STARTED, {"attempt": 2}),
        (4, JobEvent.QUEUED, {}),
        (5, JobEvent.ATTEMPT_STARTED, {"attempt": 3}),
        (6, JobEvent.BUDGET_REACHED, {"message": "2 of 2 calls"}),
        (20, JobEvent.QUEUED, {}),
        (21, JobEvent.ATTEMPT_STARTED, {"attempt": 4}),
        (22, JobEvent.BUDGET_REACHED, {"message": "4 of 4 calls"}),
        (23, JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Tell"}),
        (24, JobEvent.FAILED, {}),
    ))  # fmt: skip
    assert [(span.name, span.status, span.ended_at) for span in found if span.kind == "attempt"] == [
        ("attempt 1", "ok", at(2)),
        ("attempt 2", "ok", at(4)),
        ("attempt 3", "ok", at(6)),
        ("attempt 4", "failed", at(24)),
    ]


def test_steps_side_by_side_share_no_tools() -> None:
    found = spans(log(
        (1, JobEvent.ATTEMPT_STARTED, {"attempt": 1}),
        (2, JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Left"}),
        (2, JobEvent.STEP_STARTED, {"step_id": "s2", "title": "Right"}),
        (3, JobEvent.TOOL_STARTED, {"tool": "python", "call_id": "c"}),
    ))  # fmt: skip
    [attempt] = [span for span in found if span.kind == "attempt"]
    assert (named(found, "python")[0].parent_id, named(found, "python")[0].status) == (attempt.id, "running")


def test_the_ledger_shows_cost_and_size_but_no_results() -> None:
    made: JsonValue = {"text": "a long and private answer", "usage": {"calls": 1}, "seconds": 2.5}
    failed: JsonValue = {"failure": "model_timeout"}
    found = spans(
        log((1, JobEvent.ATTEMPT_STARTED, {"attempt": 1}), (4, JobEvent.ATTEMPT_LOST, {"attempt": 1})),
        Effect("plan", is_done=True, result=made, created_at=at(2), epoch=1),
        Effect("mail", is_done=False, result=None, created_at=at(3), epoch=1),
        Effect("solve", is_done=True, result=failed, created_at=at(8), epoch=2),
    )
    plan, mail, solve = (named(found, name)[0] for name in ("plan", "mail", "solve"))
    [attempt] = [span for span in found if span.kind == "attempt"]
    assert (plan.kind, plan.parent_id, plan.status, plan.started_at, plan.ended_at) == ("effect", attempt.id, "ok", at(2), at(2))
    assert plan.data == {"epoch": 1, "result_bytes": 76, "usage": {"calls": 1}, "seconds": 2.5}
    assert (mail.status, mail.ended_at) == ("pending", None)
    assert (solve.status, solve.parent_id, solve.data["failure"]) == ("failed", "job_1", "model_timeout")
    assert "private" not in str(found)


def test_long_notes_are_shortened() -> None:
    found = spans(log(
        (1, JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Add"}),
        (2, JobEvent.STEP_COMPLETED, {"step_id": "s1", "title": "Add", "note": "n" * 999}),
    ))  # fmt: skip
    assert len(str(named(found, "Add")[0].data["note"])) == 300


PLAN: JsonValue = {
    "title": "Sum",
    "plan": [{"id": "s1", "title": "Add", "state": "done"}, {"id": "s2", "title": "Check", "state": "failed"}, {"id": "s3", "title": "Tell"}],
}


def steps_of(of: Job, events: list[Event]) -> Steps:
    steps = Steps(of)
    steps.feed(events)
    return steps


def test_the_plans_steps_come_in_its_order_with_times_and_notes() -> None:
    found, loose = steps_of(job(view=PLAN), log(
        (1, JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Add"}),
        (2, JobEvent.STEP_COMPLETED, {"step_id": "s1", "title": "Add", "note": "4"}),
        (3, JobEvent.STEP_STARTED, {"step_id": "s2", "title": "Check"}),
        (4, JobEvent.STEP_COMPLETED, {"step_id": "s2", "title": "Check", "note": "no"}),
        (5, JobEvent.STEP_STARTED, {"step_id": "x", "title": "Extra"}),
    )).collected()  # fmt: skip
    assert [(step.id, step.state, step.started_at, step.ended_at, step.note) for step in found] == [
        ("s1", "done", at(1), at(2), "4"),
        ("s2", "failed", at(3), at(4), "no"),
        ("s3", "pending", None, None, ""),
        ("x", "running", at(5), None, ""),
    ]
    assert loose == []


def test_a_step_begun_anew_shows_its_last_beginning() -> None:
    found, _ = steps_of(job(), log(
        (1, JobEvent.STEP_STARTED, {"step_id": "x", "title": "Extra"}),
        (2, JobEvent.STEP_COMPLETED, {"step_id": "x", "title": "Extra", "note": "first"}),
        (5, JobEvent.STEP_STARTED, {"step_id": "x", "title": "Extra"}),
    )).collected()  # fmt: skip
    assert [(step.state, step.started_at, step.ended_at) for step in found] == [("running", at(5), None)]


def test_words_stand_at_the_step_that_took_them_up() -> None:
    inbox: JsonValue = [
        {"id": "str_1", "message": "metres", "created_at": START.isoformat(), "applied_at": START.isoformat(), "applied_step": "s1"},
        {"id": "str_2", "message": "hurry", "created_at": START.isoformat(), "applied_at": START.isoformat(), "applied_step": "intake"},
        {"id": "str_3", "message": "please", "created_at": START.isoformat()},
    ]
    found, loose = steps_of(job(view=PLAN, inbox=inbox), []).collected()
    assert [[steer.message for steer in step.steers] for step in found] == [["metres"], [], []]
    assert [steer.message for steer in loose] == ["hurry", "please"]
