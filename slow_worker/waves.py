"""Which attempts to make next: pure, from what is known and what may still be spent. Waves are no larger than the model server's slots."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slow_worker.effort import EffortPolicy
from slow_worker.plans import PROGRAM, is_worked_out
from slow_worker.verifiers.agreement import poll
from slow_worker.workspace import Order, Strategy, Task, Try
from tandem.schemas.jobs import PlanStep

_STEADY: Final = 0.2
"""Temperature of the first attempt of each strategy: close to the model's best guess."""
_VARIED: Final = 0.7
"""Temperature of the others: different mistakes, so that votes mean something."""
_NOTES: Final = 0.3
_TRIES_PER_STEP: Final = 2


@dataclass(frozen=True, slots=True)
class Room:
    """What the next wave may use."""

    job_id: str
    slots: int
    calls_left: int
    has_python: bool
    seconds: float = 0.0
    """Worked on the job so far."""

    def seed(self, wave: int, index: int) -> int:
        """Deterministic per job, wave and index."""
        return int.from_bytes(hashlib.sha256(f"{self.job_id}:{wave}:{index}".encode()).digest()[:4], "big") & 0x7FFF_FFFF


def next_wave(task: Task, plan: Sequence[PlanStep], tries: Sequence[Try], policy: EffortPolicy, room: Room) -> list[Order]:
    """The next attempts; none when nothing is left to try or to spend."""
    wave = 1 + max((attempt.wave for attempt in tries), default=0)
    match task.kind:
        case "open":
            return _steps(plan, tries, room, wave)
        case "json" | "code":
            return _form(tries, policy, room, wave)
        case "math" | "choice":
            return _votes(task, plan, tries, policy, room, wave)


def _steps(plan: Sequence[PlanStep], tries: Sequence[Try], room: Room, wave: int) -> list[Order]:
    done = {attempt.step_id for attempt in tries if attempt.error is None}
    open_steps = [
        step.id
        for step in plan
        if is_worked_out(step) and step.id not in done and sum(attempt.step_id == step.id for attempt in tries) < _TRIES_PER_STEP
    ]
    size = min(room.slots, room.calls_left)
    return [
        Order(wave=wave, index=index, strategy="step", seed=room.seed(wave, index), temperature=_NOTES, step_id=step_id)
        for index, step_id in enumerate(open_steps[:size], start=len(tries))
    ]


def _form(tries: Sequence[Try], policy: EffortPolicy, room: Room, wave: int) -> list[Order]:
    if room.calls_left < 1 or len(tries) > policy.repairs or any(attempt.error is None for attempt in tries):
        return []
    failure = tries[-1].error if tries else None
    temperature = _VARIED if len(tries) > 1 else _STEADY
    index = len(tries)
    return [Order(wave=wave, index=index, strategy="direct", seed=room.seed(wave, index), temperature=temperature, failure=failure)]


def _votes(task: Task, plan: Sequence[PlanStep], tries: Sequence[Try], policy: EffortPolicy, room: Room, wave: int) -> list[Order]:
    votes = poll(tries)
    if votes.groups and room.seconds >= policy.patience_s:
        return []
    is_contested = len(votes.groups) > 1
    missing = room.slots if is_contested or not tries else max(1, policy.min_votes - votes.votes)
    size = max(0, min(room.slots, room.calls_left, missing))
    is_planned = not plan or any(step.id == PROGRAM for step in plan)
    uses_programs = room.has_python and task.kind == "math" and is_planned
    return [_vote(tries, room, wave, index, uses_programs=uses_programs) for index in range(len(tries), len(tries) + size)]


def _vote(tries: Sequence[Try], room: Room, wave: int, index: int, *, uses_programs: bool) -> Order:
    strategy: Strategy = "program" if uses_programs and index % 2 else "cot"
    earlier = [attempt for attempt in tries if attempt.strategy == strategy]
    broken = strategy == "program" and bool(earlier) and all(attempt.answer is None for attempt in earlier)
    is_first = index < (2 if uses_programs else 1)
    return Order(
        wave=wave,
        index=index,
        strategy=strategy,
        seed=room.seed(wave, index),
        temperature=_STEADY if is_first else _VARIED,
        failure=earlier[-1].error if broken else None,
    )
