"""``tandem jobs``: the list, or one job."""

from typing import Annotated

from typer import Argument, Exit, Option, Typer

from tandem.cli.console import note, say, table
from tandem.cli.follow import describe_attempt, describe_end
from tandem.cli.session import open_client
from tandem.schemas.jobs import Job, JobStatus
from tandem.settings import Settings

_TITLE_CHARS = 60


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("jobs")(jobs)
    return app


def jobs(
    job_id: Annotated[str | None, Argument(metavar="[ID]", help="Show this job instead of the list.")] = None,
    status: Annotated[JobStatus | None, Option(help="Only jobs that stand there.")] = None,
    limit: Annotated[int, Option(min=1, max=100, help="Longest list.")] = 20,
    cancel: Annotated[bool, Option("--cancel", help="Ask the job to stop.")] = False,
) -> None:
    """List jobs, newest first, or show one."""
    with open_client(Settings.load()) as client:
        if job_id:
            say("\n".join(show(client.cancel_job(job_id) if cancel else client.get_job(job_id))))
            return
        if cancel:
            note("error: --cancel needs the ID of a job")
            raise Exit(2)
        page = client.list_jobs(status=status, limit=limit)
    rows = [("ID", "STATUS", "EFFORT", "CREATED", "TITLE")]
    rows += [(job.id, job.status.value, job.effort, f"{job.created_at:%Y-%m-%d %H:%M:%S}", _short(job.view.title)) for job in page.data]
    say("\n".join(table(rows)) if page.data else "no jobs yet; hand one over with `tandem submit TEXT`")


def show(job: Job) -> list[str]:
    """A job as lines."""
    lines = [f"{job.id}  {job.status.value}  effort {job.effort}", f"title    {job.view.title}", f"created  {job.created_at:%Y-%m-%d %H:%M:%S} UTC"]
    lines += [f"plan     {step.state:<8} {step.title}" for step in job.view.plan]
    lines += [f"         {describe_attempt(attempt)}" for attempt in job.view.attempts]
    if job.verification:
        lines += [
            f"check    {check.name} ({check.level}): {'passed' if check.passed else 'failed'} {check.detail}" for check in job.verification.checks
        ]
    if job.view.last_event and not job.status.is_terminal:
        lines.append(f"last     {job.view.last_event.text}")
    if job.status.is_terminal:
        lines.append(f"end      {describe_end(job)}")
    return [*lines, "", job.output_text] if job.output_text else lines


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_CHARS else f"{line[: _TITLE_CHARS - 1]}…"
