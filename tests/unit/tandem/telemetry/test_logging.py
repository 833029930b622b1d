"""Structured logs: routing, bound ids, masking."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from tandem.settings import LogSettings
from tandem.telemetry.context import bind
from tandem.telemetry.logging import MASK, configure_logging, get_logger, mask_secrets

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines() -> Lines:
    stream = io.StringIO()
    configure_logging(LogSettings(level="info"), "gateway", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_facts(lines: Lines) -> None:
    get_logger("gateway.queue").info("hint_sent", job_id="job_1", count=2)
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {"event": "hint_sent", "job_id": "job_1", "count": 2, "level": "info", "logger_name": "gateway.queue", "process": "gateway"}


def test_a_library_logs_in_the_same_form(lines: Lines) -> None:
    logging.getLogger("celery.worker").warning("lost %s", "contact", extra={"broker": "redis"})
    (line,) = lines()
    assert (line["event"], line["logger_name"], line["level"], line["broker"]) == ("lost contact", "celery.worker", "warning", "redis")


def test_lines_below_the_level_are_dropped(lines: Lines) -> None:
    get_logger("a").debug("fine_detail")
    logging.getLogger("b").debug("fine detail")
    logging.getLogger("httpx").info("HTTP Request: GET http://x")
    assert lines() == []


def test_bound_ids_are_on_every_line_of_the_block(lines: Lines) -> None:
    with bind(request_id="r1", tenant=None):
        get_logger("a").info("inside")
        logging.getLogger("b").info("inside")
    get_logger("a").info("outside")
    assert [line.get("request_id") for line in lines()] == ["r1", "r1", None]
    assert all("tenant" not in line for line in lines())


def test_bind_without_a_block_stays_bound(lines: Lines) -> None:
    bind(job_id="job_1")
    get_logger("a").info("later")
    assert lines()[0]["job_id"] == "job_1"


def test_a_traceback_is_text_without_local_values(lines: Lines) -> None:
    password = "correct horse"
    try:
        int(f"{len(password)} bytes")
    except ValueError:
        get_logger("a").exception("failed")
        logging.getLogger("b").exception("failed")
    for line in lines():
        assert "ValueError: invalid literal" in line["exception"]
        assert password not in json.dumps(line)


@pytest.mark.parametrize("name", ["api_key", "apiKey", "Authorization", "webhook_secret", "access_token", "db_password", "Set-Cookie", "pepper"])
def test_text_under_a_secret_name_is_masked_at_any_depth(name: str) -> None:
    event = mask_secrets(None, "info", {"event": "e", name: "x", "headers": {name: ["x", {"deep": "x"}]}})
    assert event == {"event": "e", name: MASK, "headers": {name: [MASK, {"deep": MASK}]}}


def test_counts_under_a_secret_name_stay() -> None:
    counts: dict[str, Any] = {"input_tokens": 7, "max_tokens": None, "has_token": True, "tokens_per_s": 1.5}
    assert mask_secrets(None, "info", dict(counts)) == counts


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Bearer abc.def", f"Bearer {MASK}"),
        ("signed with whsec_AAAA, sent", f"signed with whsec_{MASK}, sent"),
        ("redis://user:hunter2@host:1/0", f"redis://user:{MASK}@host:1/0"),
        (f"key tdm_{'0' * 26}.abcDEF", f"key tdm_{'0' * 26}.{MASK}"),
        ("http://host:8700/v1 at 12:30", "http://host:8700/v1 at 12:30"),
        ("nothing here", "nothing here"),
    ],
)
def test_text_that_looks_like_a_secret_is_masked_anywhere(text: str, masked: str) -> None:
    assert mask_secrets(None, "info", {"event": text, "facts": [text]}) == {"event": masked, "facts": [masked]}


def test_the_console_format_is_for_people() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(format="console"), "worker", stream)
    get_logger("a").warning("job_failed", job_id="job_1", token="x")
    assert "job_failed" in stream.getvalue()
    assert "job_id=job_1" in stream.getvalue()
    assert "token=x" not in stream.getvalue()


def test_configuring_again_replaces_the_routing(lines: Lines) -> None:
    log = get_logger("a")
    log.info("one")
    second = io.StringIO()
    configure_logging(LogSettings(level="error"), "gateway", second)
    log.info("two")
    log.error("three")
    assert [line["event"] for line in lines()] == ["one"]
    assert json.loads(second.getvalue())["event"] == "three"
