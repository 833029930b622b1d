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
    ],
)
def test_a_line_says_what_the_event_says(told: Event, expected: str) -> None:
    assert progress_line(told, "en") == expected


def test_chinese_conversations_get_chinese_lines() -> None:
    assert progress_line(event(JobEvent.STEP_STARTED, title="求和"), "zh") == "步骤：求和\n"


def test_braces_in_the_words_of_an_event_are_only_words() -> None:
    assert progress_line(event(JobEvent.STEP_STARTED, title="{level} {0}"), "en") == "Step: {level} {0}\n"


def test_a_line_has_an_end() -> None:
    line = progress_line(event(JobEvent.STEP_STARTED, title="x" * 5_000), "en")
    assert line is not None
    assert len(line) == 301


@pytest.mark.parametrize("kind", [JobEvent.CREATED, JobEvent.TEXT_DELTA, JobEvent.COMPLETED, "response.tandem.unheard_of"])
def test_other_events_say_nothing(kind: str) -> None:
    assert progress_line(event(kind), "en") is None
