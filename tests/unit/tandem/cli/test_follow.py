"""Events as lines for people."""

from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from tandem.cli.follow import describe, describe_verification
from tandem.schemas.events import STREAM_RESET, Event, JobEvent
from tandem.schemas.jobs import Verification


def event(kind: str, **data: JsonValue) -> Event:
    return Event(type=kind, sequence_number=0, created_at=datetime(2026, 1, 1, tzinfo=UTC), stream_id="job_1", data=data)


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (event(JobEvent.QUEUED), "queued"),
        (event(JobEvent.ATTEMPT_STARTED, attempt=2), "a worker has it (run 2)"),
        (event(JobEvent.ATTEMPT_LOST, attempt=1), "the worker of run 1 was lost; another takes over"),
        (event(JobEvent.PLAN_CREATED, steps=[{"id": "a", "title": "Read"}, {"id": "b", "title": "Solve"}]), "plan: 1. Read; 2. Solve"),
        (event(JobEvent.STEP_STARTED, step_id="a", title="Read"), "step: Read"),
        (event(JobEvent.STEP_COMPLETED, step_id="a", title="Read", note="done twice"), "done: Read (done twice)"),
        (event(JobEvent.TOOL_STARTED, tool="python", call_id="c"), "tool python runs"),
        (event(JobEvent.TOOL_COMPLETED, tool="python", call_id="c", ok=False, summary="NameError"), "tool python: failed, NameError"),
        (event(JobEvent.VERIFICATION_PASSED, name="agreement", level="V3", passed=True), "check agreement (V3): passed"),
        (event(JobEvent.VERIFICATION_FAILED, name="schema", level="V3", passed=False, detail="no x"), "check schema (V3): failed, no x"),
        (event(JobEvent.CANCELLING), "cancelling"),
        (event(JobEvent.SCHEDULED, run_at="2026-01-02"), "scheduled for 2026-01-02"),
        (event(JobEvent.PAUSING), "pausing at the next checkpoint"),
        (event(JobEvent.PAUSED), "paused"),
        (event(JobEvent.INPUT_REQUIRED, id="inp_1", prompt="Which?"), "asks (inp_1): Which?"),
        (event(JobEvent.INPUT_RECEIVED, decision="approve", value=None), "answered: approve"),
        (event(JobEvent.INPUT_RECEIVED, decision=None, value="red"), "answered: red"),
        (event(JobEvent.INPUT_EXPIRED), "nobody answered in time"),
        (event(JobEvent.STEERED, message="hurry"), "you said: hurry"),
        (event(JobEvent.STEER_APPLIED, step="solve"), "your words are taken up at solve"),
        (event(JobEvent.CHANGED), "budget, priority or metadata changed"),
        (event(JobEvent.ARTIFACT_CREATED, id="art_1", name="a.csv"), "file a.csv (art_1)"),
        (event(JobEvent.BUDGET_WARNING, meter="calls", spent=8, limit=10), "the budget nears its end: 8 of 10 calls"),
        (event(JobEvent.TEXT_RESET), "the answer is written anew"),
        (event(STREAM_RESET), "older events are no longer kept; on from the present state"),
    ],
)
def test_an_event_worth_a_line_gets_one(seen: Event, line: str) -> None:
    assert describe(seen) == line


@pytest.mark.parametrize("seen", [event(JobEvent.TEXT_DELTA, delta="x"), event("response.of.tomorrow"), event(JobEvent.STEP_STARTED)])
def test_an_event_that_cannot_be_told_gets_none(seen: Event) -> None:
    assert describe(seen) is None


def test_an_answer_no_check_accepted_is_not_called_verified() -> None:
    assert describe_verification(Verification(level="V0")) == "not verified (level V0)"
    assert describe_verification(None) == "not verified"
