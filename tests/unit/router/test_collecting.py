"""What both lanes say to questions with known answers is scored, kept as it comes, and never asked twice."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from router.collecting import Question, collect, done_ids, number_in, read_questions, sample
from tandem.client.streams import ChatPiece
from tandem.errors import InvalidRequest
from tandem.schemas.jobs import Job, JobRequest, JobStatus

JOB = {
    "id": "job_1",
    "created_at": "2026-11-22T10:00:00Z",
    "effort": "low",
    "request": {"input": "p"},
    "view": {"title": "p"},
    "status": "queued",
    "last_seq": 0,
}
QUESTIONS = [Question("q1", "What is 20 + 22?", "42"), Question("q2", "What is 1 + 1?", "2")]


class ScriptedLanes:
    """Both lanes: the fast one says its replies in turn, a job ends as it is told."""

    def __init__(self, replies: list[str], ends: list[tuple[JobStatus, object]]) -> None:
        self._replies = iter(replies)
        self._ends = iter(ends)
        self.asked: list[JobRequest] = []

    async def chat(self, messages: str, model: str, *, max_tokens: int | None) -> AsyncGenerator[ChatPiece, None]:
        assert model == "fast"
        for part in next(self._replies).partition(" "):
            yield ChatPiece(content=part)

    async def create_job(self, request: JobRequest, idempotency_key: str | None = None) -> Job:
        self.asked.append(request)
        return Job.model_validate(JOB)

    async def wait_for_job(self, job_id: str, timeout_s: float | None = None) -> Job:
        status, answer = next(self._ends)
        return Job.model_validate(JOB).model_copy(update={"status": status, "answer": answer})


def told(lines: list[str]):
    return lines.append


async def test_each_question_becomes_a_line_with_the_scores_of_both_lanes(tmp_path: Path) -> None:
    lanes = ScriptedLanes(["It is 41.", "The answer is 42", "2", "3"], [(JobStatus.COMPLETED, 42), (JobStatus.INCOMPLETE, 3)])
    said: list[str] = []
    out = tmp_path / "new" / "outcomes.jsonl"

    counts = await collect(lanes, QUESTIONS, out, samples=2, effort="low", wait_s=5, report=said.append)

    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert counts == (2, 0)
    assert [(row["id"], row["fast_score"], row["slow_score"]) for row in rows] == [("q1", 0.5, 1.0), ("q2", 0.5, 0.0)]
    assert rows[0]["fast_answers"] == ["41", "42"]
    assert lanes.asked[0].effort == "low"
    assert lanes.asked[0].answer.kind == "number"
    assert len(said) == 2


async def test_a_question_whose_job_fails_is_given_up_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    out = tmp_path / "outcomes.jsonl"
    first = ScriptedLanes(["42", "2"], [(JobStatus.FAILED, None), (JobStatus.COMPLETED, 2)])
    again = ScriptedLanes(["42"], [(JobStatus.COMPLETED, 42)])

    counts = [await collect(lanes, QUESTIONS, out, samples=1, effort=None, wait_s=5, report=told([])) for lanes in (first, again)]

    assert counts == [(1, 1), (1, 0)]
    assert done_ids(out) == {"q1", "q2"}


async def test_a_line_that_was_cut_off_is_asked_again_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    out = tmp_path / "outcomes.jsonl"
    out.write_text('{"id": "q1", "text"', encoding="utf-8")

    await collect(ScriptedLanes(["42"], [(JobStatus.COMPLETED, 42)]), QUESTIONS[:1], out, samples=1, effort=None, wait_s=5, report=told([]))

    assert done_ids(out) == {"q1"}
    assert json.loads(out.read_text(encoding="utf-8").splitlines()[1])["slow_score"] == 1.0


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ('{"prompt": "p", "answer": "7", "id": "x"}', "p", "7"),
        ('{"question": "q", "answer": "It is <<6*7=42>>.\\n#### 42"}', "q", "42"),
        ('{"input": "几页？", "golden": "9"}', "几页？", "9"),
        ('[{"Body": "Each costs 76.", "Question": "How much?", "Answer": 51.0}]', "Each costs 76. How much?", "51"),
    ],
)
def test_the_formats_of_the_public_sets_are_read(text: str, question: str, answer: str, tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(text, encoding="utf-8")

    [read] = read_questions(path)

    assert (read.text, read.answer) == (question, answer)
    assert read.id in {"x", "set-1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "line 1"), ("[1]", "row 1"), ("[1", "not JSON"), ('{"prompt": "p"}', "no answer"), ('{"prompt": "p", "answer": "blue"}', "no number")],
)
def test_what_is_no_question_is_refused_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidRequest, match=said):
        read_questions(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"nowhere\.jsonl"):
        read_questions(tmp_path / "nowhere.jsonl")


def test_the_same_seed_draws_the_same_questions() -> None:
    many = [Question(str(number), "p", "1") for number in range(50)]
    assert sample(many, 5, seed=3) == sample(many, 5, seed=3) != sample(many, 5, seed=4)
    assert len(sample(many, 100, seed=3)) == 50


@pytest.mark.parametrize(("reply", "number"), [("So 3 + 4 = 7. The answer is 7 apples", "7"), ("first 5, then 12", "12"), ("no idea", None)])
def test_the_number_after_the_last_mark_of_an_answer_counts(reply: str, number: str | None) -> None:
    assert number_in(reply) == number
