"""Jobs as lists and one by one."""

from collections.abc import Callable
from typing import Protocol

import pytest
from pydantic import JsonValue

from tandem.cli.entry import run


class StandIn(Protocol):
    answer: Callable[..., None]
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
    assert run(["jobs", "job_1", "--cancel"]) == 0
    assert "cancelling" in capsys.readouterr().out


def test_cancelling_needs_an_id(gateway: StandIn) -> None:
    assert run(["jobs", "--cancel"]) == 2


def test_an_unknown_job_is_told(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "job_9"]) == 1
    assert capsys.readouterr().err == "error: no such thing; look again\n"
