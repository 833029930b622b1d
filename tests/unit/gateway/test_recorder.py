"""What is written down leaves in order, however many flushes are asked for at once."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from gateway.records import Recorder
from tandem.ids import DecisionId, OutcomeId, TenantId
from tandem.ports import LoggedDecision, NewOutcome
from tandem.telemetry import new_metrics
from tandem.testing.samples import DECISION

TENANT = TenantId("default")


class SlowLog:
    """Writes a batch only when it is let; both stores of a recorder write into one list."""

    def __init__(self, written: list[str], gate: asyncio.Event | None = None) -> None:
        self._written = written
        self._gate = gate

    async def add(self, batch: Sequence[Any]) -> None:
        if self._gate is not None:
            await self._gate.wait()
        self._written += [type(each).__name__ for each in batch]


async def test_a_flush_waits_for_the_one_before_it_so_no_outcome_overtakes_its_decision() -> None:
    written: list[str] = []
    gate = asyncio.Event()
    recorder = Recorder(cast("Any", SlowLog(written, gate)), cast("Any", SlowLog(written)), new_metrics(), is_detailed=False)
    recorder.decide(LoggedDecision(DecisionId("dec_1"), TENANT, DECISION, 5, "chat"))
    first = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0)
    recorder.learn(NewOutcome(OutcomeId("out_1"), DecisionId("dec_1"), TENANT, "check_passed", "gateway"))
    second = asyncio.create_task(recorder.flush())
    for _ in range(5):
        await asyncio.sleep(0)
    assert (written, second.done()) == ([], False)
    gate.set()
    await asyncio.gather(first, second)
    assert written == ["LoggedDecision", "NewOutcome"]
