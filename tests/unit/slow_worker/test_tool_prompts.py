"""What a model is told of its tools, in both languages, and how much of what they answered."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slow_worker.budget import prompt_tokens
from slow_worker.tool_prompts import LEAST_ROOM, Desk, final_messages, fitting, offered_specs, tool_line, turn_messages
from slow_worker.workspace import Act, Language, Task
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import Citation, ToolExample, ToolSpec

PARAMETERS = {
    "type": "object",
    "properties": {"action": {"enum": ["list", "read"]}, "name": {"type": "string"}},
    "required": ["action"],
    "additionalProperties": False,
}


def spec(name: str = "documents", description: str = "Reads files.") -> ToolSpec:
    return ToolSpec.model_validate({
        "name": name,
        "description": description,
        "parameters": PARAMETERS,
        "side_effect": "read_internal",
        "timeout_s": 1,
    })


def desk(*texts: str, language: Language = "en", steers: tuple[str, ...] = ()) -> Desk:
    acts = [Act(number=n, tool="documents", arguments={"action": "read"}, ok=True, text=text, sources=[1]) for n, text in enumerate(texts, 1)]
    task = Task(text="How long?" if language == "en" else "多长？", kind="open", language=language, steers=list(steers))
    return Desk(task, [spec()], acts, [Citation(source="a.pdf", page=2)], "m4rk")


def test_a_tool_is_one_line() -> None:
    assert tool_line(spec()) == "- documents(action: list|read, name?): Reads files."


def test_a_tool_shows_its_first_short_example() -> None:
    examples = [ToolExample(arguments={"action": "read", "name": "x" * 200}), ToolExample(arguments={"action": "list"})]
    line = tool_line(spec().model_copy(update={"examples": examples}))

    assert line.endswith('Reads files. Example arguments: {"action": "list"}')


def test_the_writer_is_told_of_the_files_that_were_made() -> None:
    drawn = Act(number=1, tool="python_full", arguments={}, ok=True, text="19370", files=["plot-1.png"])
    expected: dict[Language, str] = {"en": "with the answer: plot-1.png.", "zh": "一起交给读者：plot-1.png。"}
    for language, words in expected.items():
        task = Task(text="?", kind="open", language=language)
        assert words in final_messages(Desk(task, [], [drawn], [], "m4rk"), 3_000)[-1].content


def test_the_newest_call_is_shown_whole_and_older_ones_cut() -> None:
    code: JsonObject = {"code": "x = 1\n" * 100}
    acts = [Act(number=number, tool="python_full", arguments=code, ok=False, code="runtime_error", text="no") for number in (1, 2)]
    said = [
        message.content
        for message in turn_messages(Desk(desk().task, [spec()], acts, [], "m4rk"), 3_000, is_last=False)
        if message.role == "assistant"
    ]

    assert [text.endswith("…") for text in said] == [True, False]


def test_a_description_is_cut_and_loses_what_nobody_sees() -> None:
    line = tool_line(spec(description="Reads\u200b all.\nIgnore " + "words " * 100))

    assert "\n" not in line
    assert "\u200b" not in line
    assert len(line) < 250


def test_tools_asked_for_by_name_come_first() -> None:
    assert [each.name for each in offered_specs([spec("a"), spec("b"), spec("c")], ["c"])] == ["c", "a", "b"]


def test_a_turn_in_english() -> None:
    messages = turn_messages(desk("It is 3 m."), 3_000, is_last=False)

    assert [(message.role, message.content) for message in messages[1:]] == [
        (
            "user",
            "Tools:\n- documents(action: list|read, name?): Reads files.\n\nTask:\nHow long?\n\n"
            "Call the tool that brings the next missing fact. Answer as soon as nothing is missing.",
        ),
        ("assistant", '{"tool": "documents", "arguments": {"action": "read"}}'),
        ("user", 'Answer of documents:\n<<<DATA m4rk from "documents">>>\nIt is 3 m.\nSources: [1] a.pdf p. 2\n<<<END m4rk>>>'),
    ]


def test_a_turn_in_chinese() -> None:
    messages = turn_messages(desk("三米。", language="zh", steers=("要快",)), 3_000, is_last=False)

    assert "任务：\n多长？" in messages[1].content
    assert messages[3].content == 'documents 的结果：\n<<<DATA m4rk from "documents">>>\n三米。\n来源：[1] a.pdf p. 2\n<<<END m4rk>>>'
    assert "任务进行中补充的要求：要快" in messages[-1].content


def test_the_final_text_is_asked_for_with_sources_and_without_what_failed() -> None:
    failed = Act(number=2, tool="documents", arguments={}, ok=False, code="x", text="no such file")
    whole = desk("It is 3 m.")

    messages = final_messages(Desk(whole.task, [], [*whole.acts, failed], whole.sources, "m4rk"), 3_000)
    assert [message.role for message in messages] == ["system", "user", "user"]
    assert "It is 3 m." in messages[1].content
    assert "no such file" not in messages[1].content
    assert "put the number of its source" in messages[2].content


@pytest.mark.parametrize("language", ["en", "zh"])
@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 400), min_size=1, max_size=12), room=st.integers(1_200, 4_000))
def test_a_prompt_stays_within_its_room_and_the_newest_answer_gets_most_of_it(language: Language, sizes: list[int], room: int) -> None:
    lying = desk(*("word " * size for size in sizes), language=language)

    messages = turn_messages(lying, room, is_last=False)
    lines = prompt_tokens(turn_messages(lying, 0, is_last=False))
    assert prompt_tokens(messages) <= max(room, lines + LEAST_ROOM)
    shown = fitting(lying, room)
    assert len(shown) == len(sizes)
    if len(sizes) == 1 and sizes[0] < 200:
        assert shown[0][1] == lying.acts[0].text
