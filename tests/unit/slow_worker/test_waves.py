"""Which attempts are made next."""

from dataclasses import replace

from slow_worker.effort import POLICIES
from slow_worker.waves import Room, next_wave
from slow_worker.workspace import Strategy, Task, Try
from tandem.schemas.jobs import PlanStep

TASK = Task(text="How many?", kind="math", language="en")
ROOM = Room(job_id="job_1", slots=2, calls_left=8, has_python=True)
MEDIUM = POLICIES["medium"]


def tried(*answers: tuple[Strategy, str | None]) -> list[Try]:
    return [Try(id=f"t{index}", wave=1 + index // 2, strategy=strategy, answer=answer) for index, (strategy, answer) in enumerate(answers)]


def test_the_first_wave_mixes_strategies_and_fills_the_slots() -> None:
    assert [order.strategy for order in next_wave(TASK, [], [], MEDIUM, ROOM)] == ["cot", "program"]


def test_no_wave_is_larger_than_slots_or_calls() -> None:
    assert len(next_wave(TASK, [], [], MEDIUM, replace(ROOM, slots=8, calls_left=3))) == 3
    assert next_wave(TASK, [], [], MEDIUM, replace(ROOM, calls_left=0)) == []


def test_agreement_asks_only_for_the_votes_that_are_missing() -> None:
    assert len(next_wave(TASK, [], tried(("cot", "7"), ("program", "7")), MEDIUM, ROOM)) == 1


def test_orders_are_the_same_each_time_and_differ_from_each_other() -> None:
    first, again = next_wave(TASK, [], [], MEDIUM, ROOM), next_wave(TASK, [], [], MEDIUM, ROOM)

    assert first == again
    assert len({order.seed for order in first}) == len({order.key for order in first}) == 2
    assert next_wave(TASK, [], [], MEDIUM, replace(ROOM, job_id="job_2"))[0].seed != first[0].seed


def test_a_late_search_with_an_answer_ends_and_one_without_goes_on() -> None:
    late = replace(ROOM, seconds=MEDIUM.patience_s)

    assert next_wave(TASK, [], tried(("cot", "7"), ("program", "8")), MEDIUM, late) == []
    assert next_wave(TASK, [], tried(("cot", None), ("program", None)), MEDIUM, late)


def test_a_step_without_notes_is_tried_once_more() -> None:
    task = Task(text="Plan it", kind="open", language="en")
    plan = [PlanStep(id="s1", title="Food"), PlanStep(id="write", title="Write the answer")]
    failed = [Try(id="a", wave=1, strategy="step", step_id="s1", error="empty")]

    assert [order.step_id for order in next_wave(task, plan, failed, MEDIUM, ROOM)] == ["s1"]
    assert next_wave(task, plan, [*failed, failed[0].model_copy(update={"id": "b", "wave": 2})], MEDIUM, ROOM) == []
