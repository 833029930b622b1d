import asyncio

import pytest

from gateway import background
from gateway.background import keep_up


async def test_a_duty_that_breaks_is_told_and_begun_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(background, "RESUME_S", 0.0)
    begun: list[int] = []

    async def duty() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise RuntimeError("a defect")

    await keep_up("recorder", duty)
    assert begun == [0, 1, 2]
    assert capsys.readouterr().out.count("duty_failed") == 2


async def test_a_duty_is_ended_by_its_cancellation() -> None:
    task = asyncio.create_task(keep_up("probes", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
