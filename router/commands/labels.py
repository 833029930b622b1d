"""``tandem router labels``: what was learnt of decisions, approved or rejected by a person, and exported for training."""

from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from typer import Argument, BadParameter, Option, Typer

from router.commands.lines import moment
from tandem.cli.console import note, say, table
from tandem.cli.session import open_client
from tandem.schemas.outcomes import LabelStatus, LabelVerdict, Outcome, OutcomeKind
from tandem.schemas.routing import Lane
from tandem.settings import Settings

TEXT_CHARS: Final = 60
T = TypeVar("T")
_STATUS: TypeAdapter[LabelStatus] = TypeAdapter(LabelStatus)
_KIND: TypeAdapter[OutcomeKind] = TypeAdapter(OutcomeKind)
_LANE: TypeAdapter[Lane] = TypeAdapter(Lane)
Ids = Annotated[list[str], Argument(metavar="ID...", help="Ids from `tandem router labels list`.")]


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False, help="Look at, approve, reject and export labels.", no_args_is_help=True)
    app.command("list")(list_labels)
    app.command("approve")(approve)
    app.command("reject")(reject)
    app.command("export")(export)
    return app


def list_labels(
    status: Annotated[str | None, Option(help="pending, approved or rejected.")] = "pending",
    kind: Annotated[str | None, Option(help="As thumbs_down, wrong_route, reask, check_failed, answer_scored.")] = None,
    limit: Annotated[int, Option(min=1, max=100, help="Longest list.")] = 20,
) -> None:
    """List what was learnt, newest first."""
    wanted_status = None if status is None else _read(_STATUS, "--status", status)
    wanted_kind = None if kind is None else _read(_KIND, "--kind", kind)
    with open_client(Settings.load()) as client:
        page = client.list_labels(wanted_status, wanted_kind, limit=limit)
    rows = [("ID", "AT", "KIND", "FROM", "STATUS", "LANE", "TEXT")]
    rows += [(each.id, moment(each.created_at), each.kind, each.source, each.status, each.wanted_lane or "", _short(each)) for each in page.data]
    say("\n".join(table(rows)))


def approve(
    ids: Ids, lane: Annotated[str | None, Option(help="The lane it should have had, where the row says another one: fast or slow.")] = None
) -> None:
    """Let training read these rows."""
    wanted = None if lane is None else _read(_LANE, "--lane", lane)
    _judge(ids, LabelVerdict(status="approved", wanted_lane=wanted))


def reject(ids: Ids) -> None:
    """Keep these rows out of training."""
    _judge(ids, LabelVerdict(status="rejected"))


def export(out: Annotated[Path | None, Option(help="File to write; else standard output.")] = None) -> None:
    """Write every approved row as a line of JSON."""
    with open_client(Settings.load()) as client:
        rows = client.export_labels()
    lines = "".join(each.model_dump_json() + "\n" for each in rows)
    if out is None:
        say(lines, end="")
    else:
        out.write_text(lines, encoding="utf-8")
    without = sum(each.text is None for each in rows)
    note(f"{len(rows)} approved rows" + (f", {without} without their prompt (router.log_prompts is off)" if without else ""))


def _judge(ids: list[str], verdict: LabelVerdict) -> None:
    with open_client(Settings.load()) as client:
        for outcome_id in ids:
            judged = client.judge_label(outcome_id, verdict)
            say(f"{judged.status} {judged.id} ({judged.kind}{f', {judged.wanted_lane}' if judged.wanted_lane else ''})")


def _short(row: Outcome) -> str:
    text = " ".join((row.text or row.comment).split())
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"


def _read(kind: TypeAdapter[T], name: str, value: str) -> T:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise BadParameter(f"{name} {value!r}: {error.errors(include_url=False)[0]['msg']}") from None
