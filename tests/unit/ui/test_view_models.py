"""What the pages show, without a page."""

from datetime import UTC, datetime, timedelta

import pytest

from tandem.schemas.jobs import Job, JobFailure, JobRequest, JobStatus, JobView, PlanStep, Verification
from tandem.schemas.threads import MessagePage, Thread, ThreadMessage
from ui.texts import load_texts
from ui.view_models import (
    JOB_GROUPS,
    age_words,
    curl_command,
    duration_words,
    in_group,
    live_data,
    message_row,
    plain_label,
    safe_markdown,
    status_badge,
    thread_title,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EN = load_texts("en")


def message(**values: object) -> ThreadMessage:
    base = {"id": "msg_1", "thread_id": "thr_1", "turn_id": "trn_1", "role": "assistant", "content": "hi", "created_at": NOW, "seq": 5}
    return ThreadMessage.model_validate(base | values)


def job(**values: object) -> Job:
    request = JobRequest(input="it's hard", thread_id="thr_1")
    base = {"id": "job_1", "status": "in_progress", "created_at": NOW, "effort": "low", "request": request, "view": JobView(title="t"), "last_seq": 3}
    return Job.model_validate(base | values)


def test_a_fast_answer_says_so() -> None:
    row = message_row(message(lane="fast"), None, EN)
    assert [badge.label for badge in row.badges] == ["fast"]


def test_an_acknowledgement_links_its_job_but_claims_no_result() -> None:
    row = message_row(message(lane="slow", job_id="job_1"), None, EN)
    assert row.job_id == "job_1"
    assert [badge.label for badge in row.badges] == ["slow · job"]


def test_a_jobs_result_shows_how_far_it_was_checked() -> None:
    done = job(status="completed", verification=Verification(level="V3"))
    row = message_row(message(turn_id=None, job_id="job_1", lane="slow"), done, EN)
    assert [badge.label for badge in row.badges] == ["result of a job", "V3 · checked by a program"]


def test_a_failed_turn_shows_its_reason() -> None:
    row = message_row(message(content="", error=JobFailure(code="model_timeout", message="too slow")), None, EN)
    assert row.error == "too slow"


def test_the_words_of_people_are_not_read_as_markdown() -> None:
    assert message_row(message(role="user", content="# not a title ![x](http://e)"), None, EN).text == "# not a title ![x](http://e)"


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("![secret](http://evil/?q=1)", "!\\[secret](http://evil/?q=1)"),
        ("costs $5 and $10", "costs \\$5 and \\$10"),
        ("costs $5-$10 (or $7)", "costs \\$5-\\$10 (or \\$7)"),
        ("I have $20 and you have 30$ now", "I have \\$20 and you have 30\\$ now"),
        ("$x^2$ and \\$5", "$x^2$ and \\$5"),
        ("in $3!=6$ ways, so $35\\cdot 6=210$", "in $3!=6$ ways, so $35\\cdot 6=210$"),
        ("so \\( a+b \\) and \\[\nx = 1\n\\]", "so $a+b$ and $$x = 1$$"),
        ("$$\nx = 1\n$$", "$$\nx = 1\n$$"),
        ("`a![0]` `$1`", "`a![0]` `$1`"),
        ("```\necho $1 ![\n```", "```\necho $1 ![\n```"),
        ("```\nstill streaming $1", "```\nstill streaming $1"),
        ("2 + 3 = 5\n5 * 2 = 10\n\nSo 10.", "2 + 3 = 5  \n5 * 2 = 10\n\nSo 10."),
    ],
)
def test_answers_fetch_nothing_and_prices_stay_prices(text: str, drawn: str) -> None:
    assert safe_markdown(text) == drawn


def test_a_label_shows_its_text_as_it_is() -> None:
    assert plain_label("a*b* [x](y) :red[z]") == "a\\*b\\* \\[x\\]\\(y\\) \\:red\\[z\\]"


def test_titles_are_one_short_line() -> None:
    thread = Thread(id="thr_1", title="a\nb " + "c" * 60, created_at=NOW, last_seq=0)
    assert thread_title(thread, EN) == "a b " + "c" * 35 + "…"
    assert thread_title(thread.model_copy(update={"title": ""}), EN) == "New chat"


@pytest.mark.parametrize(("seconds", "words"), [(0, "just now"), (59, "59 s ago"), (60, "1 min ago"), (3_600, "1 h ago"), (200_000, "2 d ago")])
def test_ages_use_the_largest_unit(seconds: float, words: str) -> None:
    assert age_words(seconds, EN) == words


def test_a_job_that_waits_has_no_duration() -> None:
    assert duration_words(job(), NOW) == "–"
    assert duration_words(job(started_at=NOW), NOW + timedelta(seconds=75)) == "1 min 15 s"
    assert duration_words(job(started_at=NOW, finished_at=NOW + timedelta(seconds=2)), NOW + timedelta(days=1)) == "2.0 s"


@pytest.mark.parametrize("status", list(JobStatus))
def test_every_status_has_a_badge_and_stands_in_one_group(status: JobStatus) -> None:
    assert status_badge(status, EN).label
    assert sum(in_group(job(status=status), group) for group in JOB_GROUPS if group != "all") == 1


def test_the_command_quotes_its_body_and_leaves_out_defaults() -> None:
    command = curl_command(job(), "http://127.0.0.1:8700")
    assert """-d '{"input": "it'"'"'s hard"}'""" in command
    assert "$TANDEM_API_KEY" in command


def test_the_live_component_starts_before_the_oldest_unfinished_turn_and_knows_what_is_drawn() -> None:
    old, asked, answered = message(id="m1", seq=1), message(id="m2", seq=4, role="user", turn_id="t2"), message(id="m3", seq=9, turn_id="t3")
    running = job(view=JobView(title="t", plan=[PlanStep(id="1", title="look", state="running")]))
    data = live_data(MessagePage(data=[old, asked, answered], live_after=3), "thr_1", [running], EN)
    assert data["after"] == 3
    assert data["drawn"] == ["m2", "m3"]
    assert data["answered"] == ["trn_1", "t3"]
    assert isinstance(data["jobs"], list)
    assert isinstance(card := data["jobs"][0], dict)
    assert card["last_seq"] == 3
    assert "api_key" not in str(data)
