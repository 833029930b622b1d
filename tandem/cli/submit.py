"""``tandem submit``: a task as a background job."""

import sys
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import ValidationError
from typer import Argument, BadParameter, Exit, Option, Typer

from tandem.cli.console import note, say, toned
from tandem.cli.files import read_path
from tandem.cli.follow import describe, describe_end
from tandem.cli.session import open_client
from tandem.client import TandemClient
from tandem.ids import is_id
from tandem.schemas.jobs import AnswerKind, Job, JobRequest, JobStatus
from tandem.schemas.routing import Effort
from tandem.settings import Settings

_KINDS = ", ".join(get_args(AnswerKind))
_EFFORTS = ", ".join(get_args(Effort))


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("submit")(submit)
    return app


def submit(
    text: Annotated[str, Argument(help="The task; - reads it from standard input.")],
    effort: Annotated[str | None, Option(help=f"How hard to think: {_EFFORTS}. Without it the router chooses.")] = None,
    answer_kind: Annotated[str, Option(help=f"Form of the answer: {_KINDS}.")] = "text",
    choice: Annotated[list[str] | None, Option(help="An allowed answer, with --answer-kind choice; repeat.")] = None,
    webhook: Annotated[str | None, Option(help="Address that gets one signed POST when the job ends.")] = None,
    file: Annotated[
        list[str] | None, Option("--file", metavar="PATH|ID", help="A file it may read: uploaded now, or the id of one that is; repeat.")
    ] = None,
    wait: Annotated[bool, Option("--wait", help="Follow the job, then print its answer alone on standard output; fails when the job does.")] = False,
) -> None:
    """Hand over a task as a background job and print its id (with --wait: its answer)."""
    request = build_request(sys.stdin.read() if text == "-" else text, effort, answer_kind, choice, webhook)
    attached = [(named, None if is_id(named, "file") else read_path(Path(named))) for named in file or ()]
    with open_client(Settings.load()) as client:
        ids = [named if content is None else client.upload_file(Path(named).name, content).id for named, content in attached]
        request = request.model_copy(update={"files": ids}) if ids else request
        job = client.create_job(request)
        if not wait:
            note(f"accepted; follow it with `tandem jobs {job.id}`")
            say(job.id)
            return
        note(f"job {job.id}")
        ended = follow(client, job)
    note(toned(describe_end(ended), "good" if ended.status is JobStatus.COMPLETED else "bad"))
    if ended.output_text:
        say(ended.output_text)
    if ended.status is not JobStatus.COMPLETED:
        raise Exit(1)


def build_request(text: str, effort: str | None, answer_kind: str, choices: list[str] | None, webhook: str | None) -> JobRequest:
    """The request body.

    Raises:
        BadParameter: A value is not allowed; the message names the option.
    """
    if not text.strip():
        raise BadParameter("the task is empty")
    answer: dict[str, Any] = {"kind": answer_kind} | ({"choices": choices} if choices else {})
    try:
        return JobRequest.model_validate({"input": text, "effort": effort, "answer": answer, "webhook_url": webhook})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        option = {"effort": "--effort", "answer.kind": "--answer-kind", "answer.choices": "--choice", "webhook_url": "--webhook"}.get(where, where)
        raise BadParameter(f"{option}: {fault['msg']}") from None


def follow(client: TandemClient, job: Job) -> Job:
    """Show a job's events until it ends; returns it as it then is."""
    for event in client.job_events(job.id):
        if line := describe(event):
            note(toned(f"  {line}", "dim"))
    return client.get_job(job.id)
