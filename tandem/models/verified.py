"""Whether a model file has its pinned hash, remembered so that a start need not read it again.

The memory is one small JSON file per model under ``TANDEM_HOME/verified``: path, size, modification time, inode and hash. A file that differs in any
of them is hashed anew. Whoever can write that folder can already replace the program, so it is not protected further.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tandem.models.catalogue import CatalogueModel

CHUNK_BYTES: Final = 4 * 1_048_576

Report = Callable[[int], None]
"""Told how many bytes are done."""


def is_verified(path: Path, model: CatalogueModel, memory: Path, report: Report) -> bool:
    """Whether the file at ``path`` is the pinned one; a positive answer is remembered in the folder ``memory``."""
    note = memory / f"{model.file_name}.json"
    facts = _facts(path, model)
    if path.stat().st_size != model.size_bytes:
        return False
    if _recall(note) == facts:
        return True
    if hash_file(path, report) != model.sha256 or _facts(path, model) != facts:
        return False
    remember(path, model, memory)
    return True


def remember(path: Path, model: CatalogueModel, memory: Path) -> None:
    """Note that ``path`` was just found to have the pinned hash."""
    memory.mkdir(parents=True, exist_ok=True)
    note = memory / f"{model.file_name}.json"
    draft = note.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(_facts(path, model)), encoding="utf-8")
    draft.replace(note)


def hash_file(path: Path, report: Report) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    done_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done_bytes += len(chunk)
            report(done_bytes)
    return digest.hexdigest()


def _facts(path: Path, model: CatalogueModel) -> dict[str, str | int]:
    status = path.stat()
    return {"path": str(path.absolute()), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino, "sha256": model.sha256}


def _recall(note: Path) -> object:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # never written, or damaged: the file is hashed again
        return None
