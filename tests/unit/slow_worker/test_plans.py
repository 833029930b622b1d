"""Plans as small models write them, and the tasks they are for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slow_worker.fences import code_block, fenced_json, is_python
from slow_worker.nodes.intake import language_of, understand
from slow_worker.plans import edited_plan, fixed_plan, read_plan
from slow_worker.strategies.step import tidy
from slow_worker.verifiers.contract import code_fault, json_fault, read_json
from slow_worker.verifiers.coverage import coverage_checks
from slow_worker.workspace import TaskKind
from tandem.schemas.jobs import AnswerContract, JobRequest, PlanStep


@pytest.mark.parametrize(
    ("reply", "titles"),
    [
        ("1. Food\n2. Transport", ["Food", "Transport"]),
        ("Here is the plan:\n\n1) **Food**: \n2) Transport.\nEnjoy!", ["Food", "Transport"]),
        ("- Food\n* Transport\n• Games", ["Food", "Transport", "Games"]),
        ("Step 1: Food\nStep 2: Transport", ["Food", "Transport"]),
        ("1、准备食物\n2、安排交通", ["准备食物", "安排交通"]),
        ("1. Food\n1. food\n2. Games", ["Food", "Games"]),
        ("\n".join(f"{n}. part {n}" for n in range(1, 20)), ["part 1", "part 2", "part 3", "part 4"]),
    ],
)
def test_lists_are_read_as_plans(reply: str, titles: list[str]) -> None:
    assert [step.title for step in read_plan(reply, "en", 4)][:-1] == titles


@pytest.mark.parametrize("reply", ["", "I cannot plan.", "1. ", "```\n1. a\n2. b\n```", "1. only one"])
def test_what_is_no_plan_falls_back_to_one_that_fits(reply: str) -> None:
    assert len(read_plan(reply, "zh", 4)) == 5


@given(st.text(max_size=400))
def test_every_reply_gives_a_plan_with_distinct_ids(reply: str) -> None:
    steps = read_plan(reply, "en", 6)

    assert len({step.id for step in steps}) == len(steps) <= 7
    assert all(step.title and len(step.title) <= 80 for step in steps)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Natalia sold 48 clips and then half as many. How many altogether?", "math"),
        ("妈妈带了30元，买了一条鱼，剩6元，这条鱼多少钱？", "math"),
        ("What is 17 * 23?", "math"),
        ("计算 12 + 30", "math"),
        ("Plan a 3-day trip to Rome for 2 people", "open"),
        ("写一个周末去上海的计划", "open"),
        ("Explain how TCP works", "open"),
        ("你好", "open"),
    ],
)
def test_tasks_are_told_apart(text: str, kind: TaskKind) -> None:
    assert understand(JobRequest(input=text)).kind == kind


def test_the_contract_decides_before_the_words() -> None:
    assert understand(JobRequest(input="Plan it", answer=AnswerContract(kind="number"))).kind == "math"


@pytest.mark.parametrize(
    ("text", "language"),
    [("Write a plan", "en"), ("用Python写一个函数", "zh"), ("", "en"), ("123", "en"), ("Translate 你好 to English please", "en")],
)
def test_the_language_is_that_of_most_of_the_text(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("Sure:\n```py\nx = 1", "x = 1"),
        ("def solve():\n    return 1", "def solve():\n    return 1"),
        ("```\na\n```\n```python\nlonger = 2\n```", "longer = 2"),
        ("no code", None),
        ("```python\n```", None),
    ],
)
def test_code_is_found(reply: str, code: str | None) -> None:
    assert code_block(reply) == code


@pytest.mark.parametrize(
    ("reply", "text"), [('{"a": 1}', '{"a": 1}'), ('Here: {"a": 1} done', '{"a": 1}'), ("```json\n[1]\n```", "[1]"), ("42", "42")]
)
def test_json_is_found(reply: str, text: str) -> None:
    assert fenced_json(reply) == text


@pytest.mark.parametrize("reply", ["", "{", "[" * 2_000 + "]" * 2_000, "[" * 80 + "]" * 80, "{'a': 1}"])
def test_what_is_no_json_says_why(reply: str) -> None:
    assert read_json(reply)[1]


def test_a_schema_fault_says_where() -> None:
    assert json_fault({"a": {"b": "x"}}, {"properties": {"a": {"properties": {"b": {"type": "number"}}}}}) == "a/b: 'x' is not of type 'number'"
    assert json_fault(1, {"$ref": "http://127.0.0.1:9/x"}) == "the schema refers to 'http://127.0.0.1:9/x', which is not part of it"


def test_only_python_is_parsed() -> None:
    rust = "```rust\nfn main() {}\n```"

    assert not is_python("fn main() {}", rust)
    assert code_fault("fn main() {}", rust) is None
    assert "does not parse" in (code_fault("def f(:", "```python\ndef f(:\n```") or "")


def test_coverage_names_what_is_missing() -> None:
    plan = [PlanStep(id="s1", title="Transport by bus"), PlanStep(id="s2", title="安排食物")]
    checks = coverage_checks("We take the bus. Transportation is paid.", plan, is_cut=False)

    assert [(check.name, check.passed, check.detail) for check in checks] == [
        ("answer_is_whole", True, ""),
        ("does_not_repeat_itself", True, ""),
        ("covers_the_plan", False, "missing: 安排食物"),
    ]


def test_notes_that_run_in_a_circle_are_straightened() -> None:
    assert tidy("- **Materials**:\n  - **Materials**:\n    - **Materials**:\n- Paper, 5 euros\n-") == "- Materials\n- Paper, 5 euros"


def test_an_answer_that_runs_in_a_circle_is_noticed() -> None:
    checks = coverage_checks("- Workshop materials\n" * 9, [], is_cut=False)

    assert [check.detail for check in checks if not check.passed] == ["again and again: Workshop materials"]


def test_an_edited_plan_of_an_open_task_is_worked_out_and_ends_with_the_writing() -> None:
    plan = read_plan("1. Food\n2. Games", "en", 4)

    edited = edited_plan(["Weather ", "Food", "Weather", "Write the answer"], plan, "open", "en")

    assert [(step.id, step.title) for step in edited] == [("s1", "Weather"), ("s2", "Food"), ("write", "Write the answer")]


def test_known_steps_of_a_fixed_course_stay_what_they_are() -> None:
    plan = fixed_plan("math", "zh", has_python=True)

    edited = edited_plan(["逐步推理求解", "画一张图"], plan, "math", "zh")

    assert [step.id for step in edited] == ["reason", "s2", "write"]
