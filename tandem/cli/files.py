"""``tandem files``: what jobs may read: upload, list, fetch and delete."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from typer import Argument, BadParameter, Exit, Option, Typer

from tandem.cli.console import complain, note, say, table
from tandem.cli.session import open_client
from tandem.client import TandemClient
from tandem.errors import NotFound
from tandem.file_names import clean_name
from tandem.schemas.files import FileObject
from tandem.settings import Settings

_DAY_S: Final = 86_400
_UNITS: Final = ("B", "KB", "MB", "GB")


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False, help="Upload, list, fetch and delete the files that jobs may read.", no_args_is_help=True)
    app.command("upload")(upload)
    app.command("list")(list_files)
    app.command("get")(get)
    app.command("delete")(delete)
    return app


def upload(
    paths: Annotated[list[Path], Argument(metavar="PATH...", help="Files to upload.")],
    days: Annotated[float | None, Option("--days", min=0.05, max=365, help="Delete them by themselves after this many days.")] = None,
) -> None:
    """Upload files and print their ids, one a line, for ``tandem submit --file``."""
    contents = [(path.name, read_path(path)) for path in paths]
    with open_client(Settings.load()) as client:
        for name, content in contents:
            file = client.upload_file(name, content, expires_after_s=None if days is None else round(days * _DAY_S))
            note(f"uploaded {file.filename!r}: {shown_size(file.bytes)}, {file.media_type}")
            say(file.id)


def list_files(limit: Annotated[int, Option(min=1, max=1_000, help="Most files to show.")] = 100) -> None:
    """List the files, newest first."""
    with open_client(Settings.load()) as client:
        page = client.list_files(limit=limit)
    rows = [("ID", "NAME", "SIZE", "TYPE", "EXPIRES")]
    rows += [(file.id, file.filename, shown_size(file.bytes), file.media_type, _expiry(file)) for file in page.data]
    say("\n".join(table(rows)))
    if page.has_more:
        note(f"there are more than {limit}; --limit shows them")


def get(
    file_id: Annotated[str, Argument(metavar="ID", help="Id from `tandem files list`.")],
    out: Annotated[Path | None, Option("--out", help="Where to write it; without it under its own name here.")] = None,
) -> None:
    """Fetch a file's bytes; nothing is overwritten."""
    with open_client(Settings.load()) as client:
        file = client.get_file(file_id)
        path = Path(clean_name(file.filename)) if out is None else out
        content = client.read_file(file_id)
    try:
        with path.open("xb") as target:
            target.write(content)
    except FileExistsError:
        raise BadParameter(f"{str(path)!r} is there already; choose another place with --out") from None
    except OSError as error:
        raise BadParameter(f"cannot write {str(path)!r}: {error.strerror}") from None
    note(f"wrote {shown_size(file.bytes)}")
    say(str(path))


def delete(file_ids: Annotated[list[str], Argument(metavar="ID...", help="Ids from `tandem files list`.")]) -> None:
    """Delete files; a job that still wants to read one is told so and goes on."""
    missing = False
    with open_client(Settings.load()) as client:
        for file_id in file_ids:
            missing = not _deleted(client, file_id) or missing
    if missing:
        raise Exit(1)


def read_path(path: Path) -> bytes:
    """A file's bytes. Raises ``BadParameter`` that says why it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadParameter(f"cannot read {str(path)!r}: {error.strerror}") from None
    if not content:
        raise BadParameter(f"{str(path)!r} is empty")
    return content


def shown_size(size: float) -> str:
    """Bytes as people read them."""
    for unit in _UNITS[:-1]:
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} {_UNITS[-1]}"


def _deleted(client: TandemClient, file_id: str) -> bool:
    try:
        client.delete_file(file_id)
    except NotFound as error:
        complain(error.message)
        return False
    say(f"deleted {file_id}")
    return True


def _expiry(file: FileObject) -> str:
    return "" if file.expires_at is None else f"{datetime.fromtimestamp(file.expires_at, UTC):%Y-%m-%d %H:%M}"
