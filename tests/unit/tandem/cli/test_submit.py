"""Tasks as background jobs."""

import io
import json
from collections.abc import Callable
from typing import Protocol

import pytest
from pydantic import JsonValue
from typer import BadParameter

from tandem.cli.entry import run
from tandem.cli.submit import build_request


class StandIn(Protocol):
    bodies: list[JsonValue]
    keys: list[str]
    answer: Callable[..., None]
    stream: Callable[[str, bytes], None]
    job: Callable[..., dict[str, JsonValue]]
    frame: Callable[..., bytes]


def test_without_waiting_the_id_stands_alone_on_standard_output(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("POST /v1/jobs", gateway.job(), status=202)
    assert run(["submit", "count the pens", "--effort", "low", "--answer-kind", "number", "--webhook", "https://example.com/hook"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "job_1\n"
    assert "tandem jobs job_1" in shown.err
    sent = json.dumps(gateway.bodies[0])
    assert all(part in sent for part in ('"count the pens"', '"low"', '"number"', '"https://example.com/hook"'))
    assert gateway.keys == ["Bearer tdm_test"]


def test_waiting_shows_the_course_and_prints_the_answer_alone(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("POST /v1/jobs", gateway.job(), status=202)
    frames = gateway.frame(0, "response.created")
    frames += gateway.frame(1, "response.tandem.plan.created", {"steps": [{"id": "s1", "title": "Count"}]})
    frames += gateway.frame(2, "response.tandem.solution.attempted", {"id": "a1", "strategy": "program", "answer": "12", "output_tokens": 40})
    frames += gateway.frame(3, "response.completed")
    gateway.stream("GET /v1/jobs/job_1/events", frames)
    verification: JsonValue = {"level": "V3", "checks": [{"name": "agreement", "level": "V3", "passed": True}]}
    gateway.answer("GET /v1/jobs/job_1", gateway.job(status="completed", output_text="12", verification=verification))
    assert run(["submit", "count the pens", "--wait"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "12\n"
    assert "plan: 1. Count" in shown.err
    assert "attempt a1 (program): 12" in shown.err
    assert "verified at level V3 by agreement" in shown.err


@pytest.mark.parametrize("status", ["failed", "cancelled", "incomplete"])
def test_waiting_for_a_job_that_does_not_complete_exits_1(status: str, gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("POST /v1/jobs", gateway.job(), status=202)
    gateway.stream("GET /v1/jobs/job_1/events", gateway.frame(0, f"response.{status}"))
    error: JsonValue = {"code": "worker_lost", "message": "it lost five workers"}
    gateway.answer("GET /v1/jobs/job_1", gateway.job(status=status, error=error))
    assert run(["submit", "count the pens", "--wait"]) == 1
    shown = capsys.readouterr()
    assert not shown.out
    assert "worker_lost: it lost five workers" in shown.err


def test_a_dash_reads_the_task_from_standard_input(gateway: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long\ntask"))
    gateway.answer("POST /v1/jobs", gateway.job(), status=202)
    assert run(["submit", "-"]) == 0
    assert '"a long\\ntask"' in json.dumps(gateway.bodies[0])


def test_the_gateways_refusal_is_passed_on(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "x"]) == 1
    assert capsys.readouterr().err == "error: no such thing; look again\n"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (("x", "huge", "text", None, None), "--effort"),
        (("x", None, "essay", None, None), "--answer-kind"),
        (("x", None, "choice", ["one"], None), "--choice"),
        (("x", None, "text", None, "h" * 3_000), "--webhook"),
        ((" ", None, "text", None, None), "empty"),
        (("a\x00b", None, "text", None, None), "U\\+0000"),
    ],
)
def test_a_bad_value_names_its_option(values: tuple[str, str | None, str, list[str] | None, str | None], told: str) -> None:
    with pytest.raises(BadParameter, match=told):
        build_request(*values)
