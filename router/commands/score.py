"""``tandem router score``: one decision per line of a file, in order.

A decision is pure but for its time, so the same file, artefact and policy give the same lanes. No job is started and nothing is logged.
"""

import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Final

from typer import Argument, Option, Typer

from router.commands.asks import read_row
from router.commands.deciding import Deciding, open_deciding
from router.policy import decide
from tandem.errors import InvalidRequest
from tandem.schemas.base import JsonObject

STANDARD: Final = "-"


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("score")(score)
    return app


def score(
    file: Annotated[str, Argument(help="JSON lines with `prompt`, `messages` or `text`; `-` reads standard input.")],
    out: Annotated[str, Option(help="File to write; `-` is standard output.")] = STANDARD,
    artifact: Annotated[Path | None, Option(help="Manifest of another scoring artefact.")] = None,
    policy: Annotated[Path | None, Option(help="JSON file of a routing policy; else that of the settings.")] = None,
    skip_bad: Annotated[bool, Option("--skip-bad", help='Write {"error": ...} for a line that cannot be read, and go on.')] = False,
) -> None:
    """Decide the lane of every line: writes a Decision per line, with the line's `id` if it has one.

    The newest user message of `messages` is the ask, the earlier ones its history. Other fields do not steer the decision.
    """
    deciding = open_deciding(artifact, policy)
    if _is_same_file(file, out):
        raise InvalidRequest(f"--out {out!r} is the file that is read, and would be emptied first; name another one.")
    with ExitStack() as open_files:
        lines, results = _reading(file, open_files), _writing(out, open_files)
        for number, line in enumerate(lines, 1):
            if line.strip():
                results.write(_scored(line, f"{file} line {number}", deciding, skip_bad=skip_bad) + "\n")
                if file == STANDARD:
                    results.flush()  # whoever writes line by line may wait for each answer


def _scored(line: bytes, place: str, deciding: Deciding, *, skip_bad: bool) -> str:
    """One line of the result, in ASCII."""
    try:
        row = read_row(line)
        name = _name_of(row.record)
    except InvalidRequest as error:
        if skip_bad:
            return json.dumps({"error": f"{place} {error.message}"})
        raise InvalidRequest(f"{place} {error.message}. Mend the line, or pass --skip-bad to go on.") from error
    decision: JsonObject = decide(row.turns, deciding.classifier, deciding.policy).model_dump(mode="json")
    return json.dumps(name | decision)


def _name_of(record: JsonObject) -> JsonObject:
    """The line's own id, which Python reads also where JSON could not write it."""
    name = {"id": record["id"]} if "id" in record else {}
    try:
        json.dumps(name, allow_nan=False)
    except ValueError as error:
        raise InvalidRequest("has an `id` with a number that JSON does not know (NaN, or beyond 1e308); give it another one") from error
    return name


def _is_same_file(file: str, out: str) -> bool:
    if STANDARD in (file, out):
        return False
    try:
        return Path(file).samefile(out)
    except OSError:
        return False


def _reading(name: str, open_files: ExitStack) -> Iterable[bytes]:
    if name == STANDARD:
        return sys.stdin.buffer
    try:
        return open_files.enter_context(Path(name).open("rb"))
    except OSError as error:
        raise InvalidRequest(f"{name!r} cannot be read ({error.strerror}).") from error


def _writing(name: str, open_files: ExitStack) -> IO[str]:
    if name == STANDARD:
        return sys.stdout
    try:
        return open_files.enter_context(Path(name).open("w", encoding="ascii"))
    except OSError as error:
        raise InvalidRequest(f"{name!r} cannot be written ({error.strerror}).") from error
