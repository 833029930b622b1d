"""The proof after a start: each lane is asked once, and what was seen is printed. Nothing is assumed: a lane that does not answer has failed."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from tandem.cli.follow import describe, describe_end
from tandem.client import AsyncTandemClient
from tandem.errors import ProcessFailed, TandemError
from tandem.schemas.jobs import AnswerContract, Budget, JobRequest, JobStatus

FAST_QUESTION: Final = "In one short sentence: why is the sky blue?"
SLOW_TASK: Final = "A shop sells pens at 3 for 2 dollars. How many dollars do 18 pens cost?"
SLOW_ANSWER: Final = 12
_FAST_WITHIN_S: Final = 60.0
_SLOW_WITHIN_S: Final = 480.0
_WORK_WITHIN_S: Final = 420.0
"""The proof is of function, not of speed: an idle laptop takes half a minute, one that compiles something else ten times that."""
_REPLY_TOKENS: Final = 80

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Proof:
    """What the proof found."""

    failures: tuple[str, ...]

    @property
    def is_passed(self) -> bool:
        return not self.failures


async def prove(client: AsyncTandemClient, say: Say) -> Proof:
    """Ask both lanes once, one after the other."""
    failures: list[str] = []
    for lane, ask, limit_s in (("fast", _ask_fast, _FAST_WITHIN_S), ("slow", _ask_slow, _SLOW_WITHIN_S)):
        try:
            async with asyncio.timeout(limit_s):
                await ask(client, say)
        except TimeoutError:
            failures.append(f"the {lane} lane did not answer within {limit_s:g} s")
        except TandemError as error:
            failures.append(f"the {lane} lane: {error.message}")
    return Proof(tuple(failures))


async def _ask_fast(client: AsyncTandemClient, say: Say) -> None:
    say(f"  fast  {FAST_QUESTION}")
    asked_at = time.monotonic()
    first_s: float | None = None
    words: list[str] = []
    async with aclosing(client.chat(FAST_QUESTION, "fast", max_tokens=_REPLY_TOKENS)) as pieces:
        async for piece in pieces:
            if piece.content:
                first_s = time.monotonic() - asked_at if first_s is None else first_s
                words.append(piece.content)
    if first_s is None:
        raise ProcessFailed("it answered without a word; see the logs of gateway and fast")
    say(f"        {' '.join(''.join(words).split())}")
    say(f"        first words after {first_s:.2f} s, all after {time.monotonic() - asked_at:.2f} s")


async def _ask_slow(client: AsyncTandemClient, say: Say) -> None:
    say(f"  slow  {SLOW_TASK}")
    asked_at = time.monotonic()
    job = await client.create_job(
        JobRequest(input=SLOW_TASK, effort="low", answer=AnswerContract(kind="number"), budget=Budget(max_seconds=_WORK_WITHIN_S))
    )
    say(f"        job {job.id}")
    async with aclosing(client.job_events(job.id)) as events:
        async for event in events:
            if line := describe(event):
                say(f"        {time.monotonic() - asked_at:5.1f} s  {line}")
    job = await client.get_job(job.id)
    say(f"        {describe_end(job)}")
    if job.status is not JobStatus.COMPLETED:
        raise ProcessFailed(f"job {job.id} ended as {job.status.value!r}; see the logs of worker and slow")
    remark = "" if job.answer == SLOW_ANSWER else f" (the right one is {SLOW_ANSWER}: the lane works, the model erred)"
    say(f"        answer {job.answer}{remark} after {time.monotonic() - asked_at:.1f} s")
