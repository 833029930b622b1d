"""Outcomes of the deployed pair: both lanes answer the same questions, whose right answers are known, and what they say is scored.

Reads question files in the formats of the public sets, asks through the gateway's own doors, and appends one line per question as it is done, so that
an interrupted run goes on where it was. Only numbers are scored: nothing else can be judged here without a judge's opinion.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

from pydantic import JsonValue

from tandem.answers import canonical_value, final_line, first_number, last_number, same
from tandem.client.streams import ChatPiece
from tandem.errors import InvalidRequest
from tandem.schemas.jobs import AnswerContract, Job, JobRequest, JobStatus
from tandem.schemas.routing import Effort

Report = Callable[[str], None]

FAST_TOKENS: Final = 512
"""Longest fast answer that is waited for."""
_ANSWERED: Final = frozenset({JobStatus.COMPLETED, JobStatus.INCOMPLETE})


class Lanes(Protocol):
    """What is needed of ``AsyncTandemClient``."""

    def chat(self, messages: str, model: str, *, max_tokens: int | None) -> AsyncGenerator[ChatPiece, None]: ...

    async def create_job(self, request: JobRequest, idempotency_key: str | None = None) -> Job: ...

    async def wait_for_job(self, job_id: str, timeout_s: float | None = None) -> Job: ...


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its right answer."""

    id: str
    text: str
    answer: str
    """Canonical number."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What both lanes said to one question; a line of the result."""

    id: str
    text: str
    fast_score: float
    """Share of the fast lane's answers that were right."""
    slow_score: float
    """1.0 or 0.0: the job's answer."""
    fast_answers: list[str | None]
    slow_answer: str | None
    effort: Effort | None
    job_id: str


def read_questions(path: Path) -> list[Question]:
    """The questions of a file of JSON lines, or of one JSON list.

    Each object has ``prompt`` (or ``question``, ``input``, ``Body`` and ``Question``) and ``answer`` (or ``golden``, ``Answer``). GSM8K's
    ``#### 42`` is understood.

    Raises:
        InvalidRequest: Not such a file; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"cannot read the questions of {str(path)!r} ({error}); name a file of JSON lines", param="QUESTIONS") from error
    return [_question(path.stem, number, record) for number, record in _records(path, text)]


def sample(questions: Sequence[Question], count: int, seed: int) -> list[Question]:
    """A reproducible draw of at most ``count``."""
    return random.Random(seed).sample(questions, min(count, len(questions)))  # noqa: S311 - a reproducible draw, not a secret


def done_ids(path: Path) -> set[str]:
    """Questions that an earlier run has scored; a last line that was cut off is asked again."""
    if not path.exists():
        return set()
    ids: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            ids.add(str(json.loads(line)["id"]))
        except (ValueError, KeyError, TypeError):
            continue
    return ids


async def collect(
    lanes: Lanes, questions: Sequence[Question], out: Path, *, samples: int, effort: Effort | None, wait_s: float, report: Report
) -> tuple[int, int]:
    """Ask what ``out`` does not hold yet, one question after the other: both lanes share a machine's cores.

    Returns:
        Rows written, and questions given up because a lane failed or took longer than ``wait_s``; these are not scored and asked again next time.
    """
    known, written, given_up = done_ids(out), 0, 0
    waiting = [question for question in questions if question.id not in known]
    for place, question in enumerate(waiting, 1):
        fast = [await _ask_fast(lanes, question) for _ in range(samples)]
        job = await _ask_slow(lanes, question, effort, wait_s)
        if job.status not in _ANSWERED or job.result_text is None:
            given_up += 1
            report(f"{place}/{len(waiting)} {question.id}: given up, job {job.id} is {job.status}")
            continue
        slow = job.result_text
        row = Scored(
            id=question.id,
            text=question.text,
            fast_score=sum(is_right(said, question) for said in fast) / samples,
            slow_score=float(is_right(slow, question)),
            fast_answers=fast,
            slow_answer=slow,
            effort=effort,
            job_id=job.id,
        )
        await asyncio.to_thread(_append, out, row)
        written += 1
        report(f"{place}/{len(waiting)} {question.id}: fast {row.fast_score:.2f}, slow {row.slow_score:.0f}")
    return written, given_up


def is_right(said: str | None, question: Question) -> bool:
    """Whether a canonical number is the right one."""
    return said is not None and same(said, question.answer)


def number_in(reply: str) -> str | None:
    """The number a reply gives as its answer: after its last mark of an answer, else its last number."""
    line = final_line(reply)
    marked = None if line is None else first_number(line.rsplit("=", 1)[-1]) or first_number(line)
    return marked or last_number(reply)


@dataclass(frozen=True, slots=True)
class _Ended:
    id: str
    status: JobStatus
    result_text: str | None


async def _ask_fast(lanes: Lanes, question: Question) -> str | None:
    async with aclosing(lanes.chat(question.text, "fast", max_tokens=FAST_TOKENS)) as pieces:
        return number_in("".join([piece.content async for piece in pieces]))


async def _ask_slow(lanes: Lanes, question: Question, effort: Effort | None, wait_s: float) -> _Ended:
    job = await lanes.create_job(
        JobRequest(input=question.text, effort=effort, answer=AnswerContract(kind="number"), metadata={"collect": question.id})
    )
    job = await lanes.wait_for_job(job.id, wait_s)
    answer = canonical_value(job.answer) if job.answer is not None else number_in(job.output_text or "")
    return _Ended(job.id, job.status, answer)


def _append(path: Path, row: Scored) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_bytes() if path.exists() else b""
    with path.open("ab") as file:
        if text and not text.endswith(b"\n"):
            file.write(b"\n")  # an earlier run was cut off inside its last line
        file.write(json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n")


def _records(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    """Numbered objects of the file."""
    if text.lstrip().startswith("["):
        try:
            values = cast("list[JsonValue]", json.loads(text))
        except ValueError as error:
            raise InvalidRequest(f"{str(path)!r} is not JSON ({error})", param="QUESTIONS") from None
        numbered = list(enumerate(values, 1))
    else:
        numbered = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                numbered.append((number, json.loads(line)))
            except ValueError as error:
                raise InvalidRequest(f"line {number} of {str(path)!r} is not JSON ({error})", param="QUESTIONS") from None
    for number, value in numbered:
        if not isinstance(value, dict):
            raise InvalidRequest(f"row {number} of {str(path)!r} is no object with a prompt and an answer", param="QUESTIONS")
    return cast("list[tuple[int, dict[str, Any]]]", numbered)


def _question(stem: str, number: int, record: dict[str, Any]) -> Question:
    body, asked = record.get("Body"), record.get("Question")
    text = f"{str(body).rstrip('. ')}. {asked}" if body and asked else record.get("prompt") or record.get("question") or record.get("input")
    given = next((record[name] for name in ("answer", "golden", "Answer") if record.get(name) is not None), None)
    if not isinstance(text, str) or not text.strip() or given is None:
        raise InvalidRequest(f"row {number} has no prompt or no answer; it has the fields {sorted(record)!r}", param="QUESTIONS")
    answer = canonical_value(given) if isinstance(given, int | float) else number_in(str(given))
    if answer is None:
        raise InvalidRequest(f"row {number}: the answer {str(given)[:60]!r} holds no number; only numbers can be scored", param="QUESTIONS")
    return Question(id=str(record.get("id") or record.get("ID") or f"{stem}-{number}"), text=text, answer=answer)


__all__ = ["Lanes", "Question", "Scored", "collect", "done_ids", "is_right", "number_in", "read_questions", "sample"]
