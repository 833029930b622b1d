"""``tandem jobs``: the list, one job and what can be done to it, or the work at hand."""

import json
from datetime import UTC, datetime
from typing import Annotated

from pydantic import JsonValue
from typer import Argument, BadParameter, Option, Typer

from tandem.cli.console import note, say, table
from tandem.cli.job_lines import job_rows, lease_rows, show, summary
from tandem.cli.session import open_client
from tandem.client import TandemClient
from tandem.errors import Conflict, PermissionDenied
from tandem.schemas.inputs import InputAnswer, InputRequest
from tandem.schemas.jobs import JobRetry, JobStatus
from tandem.schemas.operations import Operations
from tandem.settings import Settings


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("jobs")(jobs)
    return app


def jobs(
    job_id: Annotated[str | None, Argument(metavar="[ID]", help="Show this job instead of the list.")] = None,
    status: Annotated[JobStatus | None, Option(help="Only jobs that stand there.")] = None,
    limit: Annotated[int, Option(min=1, max=100, help="Longest list.")] = 20,
    operations: Annotated[bool, Option("--operations", help="What waits, what workers hold, what is stuck; needs an admin key.")] = False,
    cancel: Annotated[bool, Option("--cancel", help="Ask the job to stop.")] = False,
    pause: Annotated[bool, Option("--pause", help="Stop the job at its next checkpoint, to be resumed.")] = False,
    resume: Annotated[bool, Option("--resume", help="Let a paused job go on.")] = False,
    retry: Annotated[bool, Option("--retry", help="Try an ended job again as a new one, from its last checkpoint.")] = False,
    from_start: Annotated[bool, Option("--from-start", help="With --retry: repeat the finished steps too.")] = False,
    steer: Annotated[str | None, Option(metavar="TEXT", help="Add words to a job under way.")] = None,
    answer: Annotated[
        str | None, Option(metavar="TEXT", help="Answer its open question: approve, reject, a choice, a text, or a form's fields as JSON.")
    ] = None,
    input_id: Annotated[str | None, Option("--input", metavar="ID", help="With --answer: which question, when several are open.")] = None,
) -> None:
    """List jobs, newest first; show one, or act on it."""
    wishes = {
        "--cancel": cancel,
        "--pause": pause,
        "--resume": resume,
        "--retry": retry,
        "--steer": steer is not None,
        "--answer": answer is not None,
    }
    wished = [name for name, is_wished in wishes.items() if is_wished]
    if len(wished) > 1:
        raise BadParameter(f"{' and '.join(wished)} exclude each other")
    if wished and job_id is None:
        raise BadParameter(f"{wished[0]} needs the ID of a job")
    with open_client(Settings.load()) as client:
        if operations:
            _print_operations(client.operations())
        elif job_id is None:
            _print_list(client, status, limit)
        else:
            shown_id = job_id
            if retry:
                shown_id = client.retry_job(job_id, JobRetry.model_validate({"from": "start"}) if from_start else None).id
            elif wished:
                _act(client, job_id, wished[0], steer or "", answer or "", input_id)
            say("\n".join(show(client.get_job(shown_id))))


def _act(client: TandemClient, job_id: str, wish: str, words: str, answer: str, input_id: str | None) -> None:
    if wish == "--cancel":
        client.cancel_job(job_id)
    elif wish == "--pause":
        client.pause_job(job_id)
    elif wish == "--resume":
        client.resume_job(job_id)
    elif wish == "--steer":
        client.steer_job(job_id, words)
    else:
        question = pick_question(client.job_inputs(job_id), input_id)
        client.answer_input(job_id, question.id, read_answer(question, answer))


def pick_question(questions: list[InputRequest], input_id: str | None) -> InputRequest:
    """The question that is meant.

    Raises:
        BadParameter: It cannot be told which one.
        Conflict: None is open.
    """
    if input_id is not None:
        named = next((question for question in questions if question.id == input_id), None)
        if named is None:
            raise BadParameter(f"--input: the job has not asked {input_id!r}")
        return named
    pending = [question for question in questions if question.status == "pending"]
    if not pending:
        raise Conflict("the job asks nothing just now; `tandem jobs ID` shows what it asked")
    if len(pending) > 1:
        raise BadParameter(f"several questions are open; add --input with one of {', '.join(question.id for question in pending)}")
    return pending[0]


def read_answer(question: InputRequest, text: str) -> InputAnswer:
    """The typed words as an answer of the question's kind; JSON given to an approval edits it."""
    if question.kind == "approval" and text in ("approve", "reject"):
        return InputAnswer(decision="approve" if text == "approve" else "reject")
    if question.kind in ("approval", "form"):
        try:
            value: JsonValue = json.loads(text)
        except ValueError as error:
            expected = "approve, reject, or the edited fields as JSON" if question.kind == "approval" else "the form's fields as JSON"
            raise BadParameter(f"--answer must be {expected}: {error}") from None
        return InputAnswer(decision="edit", value=value) if question.kind == "approval" else InputAnswer(value=value)
    return InputAnswer(value=text)


def _print_list(client: TandemClient, status: JobStatus | None, limit: int) -> None:
    page = client.list_jobs(status=status, limit=limit)
    try:
        operations = client.operations()
    except PermissionDenied:  # an ordinary key: the list alone
        operations = None
    else:
        note(summary(operations))
    rows = job_rows(page.data, operations, datetime.now(UTC))
    say("\n".join(table(rows)) if page.data else "no jobs yet; hand one over with `tandem submit TEXT`")


def _print_operations(operations: Operations) -> None:
    say(summary(operations))
    if operations.queued_by_key:
        say("waiting by key: " + ", ".join(f"{key} {count}" for key, count in operations.queued_by_key.items()))
    if operations.webhooks:
        say("webhooks: " + ", ".join(f"{count} {state}" for state, count in operations.webhooks.items()))
    say("\n".join(table(lease_rows(operations.leases))) if operations.leases else "no worker holds a job")
