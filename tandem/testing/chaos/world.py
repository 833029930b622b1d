"""The world outside of a chaos run: what steps really did there, and what a job is ordered to do.

Worker processes write here with no regard to leases, so that a test sees every call that was made, also those of zombies. One line per call, appended
in a single write, which a kill or a freeze cannot tear or block.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

STEPS: Final = ("plan", "branch:0", "branch:1", "branch:2", "verify", "final")
"""Names of the six effects of a job that is done: three of them run in parallel."""

KillPoint = Literal["before_first_put", "in_put", "before_finish"]
"""Where the next worker that comes by kills itself: before a job's first checkpoint, in the middle of one, after the last one."""


class Order(BaseModel):
    """What a chaos job does; its JSON is the job's input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    do: Literal["ok", "exit", "segv", "unpicklable", "loop", "hang", "memory", "act", "ask", "model", "budget"] = "ok"
    """At ``verify``: leave the process, crash it, return what cannot be stored, spin, wait for ever, eat memory, call a receiver that knows no keys,
    ask a person, ask the model, or find the budget used up."""
    default: str | None = None
    """Of a question: taken when nobody answers in time."""
    prompt: str = "chaos"
    """What the model is asked."""
    step_s: float = 0.03
    """Seconds each step takes."""

    def text(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the outside."""

    job_id: str
    key: str
    """The idempotency key it came with."""
    epoch: int
    pid: int
    at: float
    """Unix seconds by the caller's clock."""


@dataclass(frozen=True, slots=True)
class World:
    """A folder that all processes of a run share."""

    folder: Path

    def call(self, job_id: str, key: str, epoch: int) -> str:
        """Do something outside; the same key always gives the same answer, as a receiver that honours keys would."""
        line = json.dumps([job_id, key, epoch, os.getpid(), time.time()]) + "\n"
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        return f"did {key}"

    def calls(self) -> Iterator[Call]:
        """Every call of every job, oldest first."""
        return (Call(*json.loads(line)) for line in self._lines())

    def of(self, job_id: str) -> list[Call]:
        """Every call of one job, oldest first."""
        return [Call(*json.loads(line)) for line in self._lines() if job_id in line]

    def counts(self, job_id: str) -> Counter[str]:
        """How often the outside was called with each key of a job."""
        return Counter(call.key for call in self.of(job_id))

    def arm(self, point: KillPoint) -> None:
        """Let the next worker that reaches the point kill itself there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / point).touch()

    def is_armed(self, point: KillPoint) -> bool:
        return (self.folder / point).exists()

    def fires(self, point: KillPoint) -> bool:
        """True for exactly one caller after each ``arm``, whichever process it is in."""
        try:
            (self.folder / point).unlink()
        except FileNotFoundError:
            return False
        (self.folder / f"{point}.fired").write_text(str(time.time()), encoding="ascii")
        return True

    def fired_at(self, point: KillPoint) -> float:
        """When the point was last reached, in Unix seconds. Raises ``FileNotFoundError`` when nobody has reached it."""
        return float((self.folder / f"{point}.fired").read_text(encoding="ascii"))

    def _lines(self) -> Iterator[str]:
        """Whole lines only: a reader may see the first part of one that is being written."""
        path = self.folder / "calls"
        if path.exists():
            *whole, _ = path.read_text(encoding="utf-8").split("\n")
            yield from whole
