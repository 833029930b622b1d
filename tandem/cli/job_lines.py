"""Jobs, their questions and the leases on them as lines and table rows. Says nothing that is not in the record."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from tandem.cli.follow import describe_attempt, describe_end
from tandem.schemas.inputs import InputRequest
from tandem.schemas.jobs import Job, JobStatus
from tandem.schemas.operations import Lease, Operations

_TITLE_CHARS: Final = 60


def summary(operations: Operations) -> str:
    """The state of the queue and of the workers in one line."""
    waiting = operations.by_status.get(JobStatus.QUEUED, 0)
    running = len(operations.leases)
    stuck = sum(lease.is_stuck for lease in operations.leases)
    oldest = f", the oldest for {span(operations.oldest_queued_s)}" if waiting else ""
    seen = "no worker was ever seen" if operations.last_claim_s is None else f"a worker last showed life {span(operations.last_claim_s)} ago"
    return f"{waiting} waiting{oldest}; {running} running, {stuck} stuck; {seen}"


def job_rows(jobs: Sequence[Job], operations: Operations | None, now: datetime) -> list[tuple[str, ...]]:
    """A table of jobs with its heading; leases are known to operators only."""
    leases = {lease.job_id: lease for lease in operations.leases} if operations else {}
    rows: list[tuple[str, ...]] = [("ID", "STATUS", "EFFORT", "ATTEMPT", "WAIT/LEASE", "CREATED", "TITLE")]
    for job in jobs:
        place = _place(job, leases.get(job.id), now)
        attempt = f"{job.attempt}" + (f" ({job.lost} lost)" if job.lost else "")
        rows.append((job.id, job.status.value, job.effort, attempt, place, f"{job.created_at:%Y-%m-%d %H:%M:%S}", _short(job.view.title)))
    return rows


def lease_rows(leases: Sequence[Lease]) -> list[tuple[str, ...]]:
    """A table of what workers hold."""
    rows: list[tuple[str, ...]] = [("JOB", "TENANT", "WORKER", "STATUS", "ATTEMPT", "HELD", "LEASE", "SILENT", "")]
    for lease in leases:
        attempt = f"{lease.attempt}" + (f" ({lease.lost} lost)" if lease.lost else "")
        mark = "STUCK" if lease.is_stuck else ""
        left = _left(lease.lease_left_s)
        rows.append((lease.job_id, lease.tenant, lease.worker, lease.status.value, attempt, span(lease.held_s), left, span(lease.silent_s), mark))
    return rows


def show(job: Job) -> list[str]:
    """A job as lines."""
    lines = [f"{job.id}  {job.status.value}{' (pausing)' if job.is_pausing else ''}  effort {job.effort}", f"title    {job.view.title}"]
    lines.append(f"created  {_moment(job.created_at)}")
    lines += _origin(job)
    lines += [f"plan     {step.state:<8} {step.title}" for step in job.view.plan]
    lines += [f"         {describe_attempt(attempt)}" for attempt in job.view.attempts]
    lines += [line for question in job.inputs for line in _question(question)]
    lines += [
        f"said     {_short(steer.message)!r} ({f'taken up at {steer.applied_step}' if steer.applied_at else 'not taken up yet'})"
        for steer in job.inbox
    ]
    lines += [f"file     {artifact.id}  {artifact.name} ({artifact.media_type}, {artifact.size} bytes)" for artifact in job.artifacts]
    if job.verification:
        lines += [
            f"check    {check.name} ({check.level}): {'passed' if check.passed else 'failed'} {check.detail}" for check in job.verification.checks
        ]
    if job.view.last_event and not job.status.is_terminal:
        lines.append(f"last     {job.view.last_event.text}")
    if job.status.is_terminal:
        lines.append(f"end      {describe_end(job)}")
    return [*lines, "", job.output_text] if job.output_text else lines


def span(seconds: float) -> str:
    """Seconds as people say them."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _origin(job: Job) -> Iterator[str]:
    if job.retry_of:
        yield f"retry of {job.retry_of}"
    if job.parent_id:
        yield f"part of  {job.parent_id}"
    if job.schedule_id:
        yield f"made by  {job.schedule_id}"
    if job.run_at:
        yield f"not before {_moment(job.run_at)}"
    if job.deadline:
        yield f"deadline {_moment(job.deadline)}"


def _question(question: InputRequest) -> Iterator[str]:
    until = f", until {_moment(question.expires_at)}" if question.status == "pending" else ""
    yield f"asks     {question.id}  {question.kind}, {question.status}{until}: {_short(question.prompt)}"
    if question.choices:
        yield f"         choices: {', '.join(question.choices)}"
    if question.status == "answered":
        yield f"         answer: {_short(str(question.decision or question.value))}"


def _place(job: Job, lease: Lease | None, now: datetime) -> str:
    """How long a job has waited for its first worker, or how the lease of its present one stands."""
    if lease is not None:
        return f"lease {_left(lease.lease_left_s)}{', stuck' if lease.is_stuck else ''}"
    if job.status is JobStatus.QUEUED and job.attempt == 0:
        since = max(job.created_at, job.run_at) if job.run_at else job.created_at
        return f"waits {span(max(0.0, (now - since).total_seconds()))}"
    if job.status is JobStatus.SCHEDULED and job.run_at:
        return f"in {span(max(0.0, (job.run_at - now).total_seconds()))}"
    return ""


def _left(seconds: float) -> str:
    return f"{span(seconds)} left" if seconds >= 0 else f"ran out {span(-seconds)} ago"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_CHARS else f"{line[: _TITLE_CHARS - 1]}…"
