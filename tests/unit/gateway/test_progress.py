from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from gateway.chat.progress import progress_line
from tandem.schemas.events import Event, JobEvent


def event(kind: str, **data: JsonValue) -> Event:
    return Event(type=kind, sequence_number=0, created_at=datetime(2026, 1, 1, tzinfo=UTC), stream_id="job_x", data=data)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (event(JobEvent.PLAN_CREATED, steps=[{"id": "1", "title": "Add"}, {"id": "2", "title": "Check"}]), "Plan: 1. Add; 2. Check\n"),
        (event(JobEvent.STEP_STARTED, step_id="1", title="Add\nup"), "Step: Add up\n"),
        (event(JobEvent.SOLUTION_ATTEMPTED, strategy="cot", answer="4"), "Attempt (cot): 4\n"),
        (event(JobEvent.SOLUTION_ATTEMPTED, strategy="program", error="timed out"), "Attempt (program): timed out\n"),
        (event(JobEvent.VERIFICATION_PASSED, name="vote", level="V2"), "Check passed (V2): vote\n"),
        (event(JobEvent.STEP_COMPLETED), "Done: –\n"),
        (event(JobEvent.PAUSED, status="paused"), "Paused; it goes on at POST /v1/jobs/job_x/resume.\n"),
        (
            event(JobEvent.INPUT_REQUIRED, id="inp_1", job_id="job_x", prompt="Sure?"),
            "Question, to be answered at /v1/jobs/job_x/inputs/inp_1: Sure?\n",
        ),
        (event(JobEvent.STEER_APPLIED, steer_id="str_1", step="step 2"), "What was added is taken up at: step 2\n"),
        (event(JobEvent.BUDGET_WARNING, meter="max_calls", spent=8, limit=10), "Most of the budget is spent (max_calls).\n"),
        (event(JobEvent.ARTIFACT_CREATED, name="plot.png"), "File: plot.png\n"),
    ],
)
def test_a_line_says_what_the_event_says(told: Event, expected: str) -> None:
    assert progress_line(told, "en") == expected


def test_chinese_conversations_get_chinese_lines() -> None:
    assert progress_line(event(JobEvent.STEP_STARTED, title="求和"), "zh") == "步骤：求和\n"


def test_both_languages_have_words_for_the_same_events() -> None:
    kinds = [kind for name, kind in vars(JobEvent).items() if name.isupper() and isinstance(kind, str)]
    assert [progress_line(event(kind), "en") is None for kind in kinds] == [progress_line(event(kind), "zh") is None for kind in kinds]


def test_braces_in_the_words_of_an_event_are_only_words() -> None:
    assert progress_line(event(JobEvent.STEP_STARTED, title="{level} {0}"), "en") == "Step: {level} {0}\n"


def test_a_line_has_an_end() -> None:
    line = progress_line(event(JobEvent.STEP_STARTED, title="x" * 5_000), "en")
    assert line is not None
    assert len(line) == 301


@pytest.mark.parametrize("kind", [JobEvent.CREATED, JobEvent.TEXT_DELTA, JobEvent.COMPLETED, "response.tandem.unheard_of"])
def test_other_events_say_nothing(kind: str) -> None:
    assert progress_line(event(kind), "en") is None
