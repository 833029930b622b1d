import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.overrides import lane_in_words, strip_command
from router.text import read_text


@pytest.mark.parametrize(
    "message",
    [
        "/deep what is 2+2",
        "  /DEEP hello",
        "/deep",
        "think hard about this: 2+2",
        "What is the best opening? Think hard.",
        "Please think harder.",
        "think step by step carefully: who wins?",
        "think really hard please",
        "Think it through carefully",
        "Can you think deeply about it?",
        "take your time and think",
        "认真想想这个问题",
        "仔细想想，谁会赢？",
        "请仔细思考后回答",
        "好好想一想",
        "认真地想想再回答",
        "一步一步地推理",
        "你再仔细想想",
        "think more carefully",
        "Please think this through.",
        "Think longer before you answer",
        "think a bit deeper",
        "深思熟虑后回答",
        "仔细想一下再回答",
        "請認真想想",
        "请认真想，别急",
        "请仔细考虑这个问题",
        "慢慢思考",
    ],
)
def test_words_that_ask_for_the_slow_lane_are_heard(message: str) -> None:
    assert lane_in_words(read_text(message)) == "slow"


@pytest.mark.parametrize("message", ["/fast prove it", "/fast", "\n/Fast think hard"])
def test_the_fast_command_is_heard(message: str) -> None:
    assert lane_in_words(read_text(message)) == "fast"


@pytest.mark.parametrize(
    "message",
    [
        "hi",
        "",
        "/deeper waters",
        "/fasting tips",
        "what does /deep do?",
        "I think hardware is cool",
        "don't think too hard",
        "No need to think hard, just say yes",
        'How do I say "think hard" in French?',
        "> think hard\nWhat did he mean?",
        "不用仔细想，随便说",
        "别想太多，不必认真思考",
        "“认真想想”用英语怎么说？",
        "我们一起想想晚饭吃什么",
        "think longer-term: which stocks?",
        "I want to think it over",
        "这是一个深思熟虑的决定",
        "他们仔细考虑了方案",
        "没认真想",
    ],
)
def test_other_words_leave_the_lane_open(message: str) -> None:
    assert lane_in_words(read_text(message)) is None


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        ("/deep why?", "why?"),
        ("/fast\nwhy?", "why?"),
        (" /Deep  why?", " why?"),
        ("why /deep?", "why /deep?"),
        ("/deep", "/deep"),
        ("／deep 为什么", "为什么"),
        ("/deeply", "/deeply"),
    ],
)
def test_the_command_is_stripped_for_the_model(message: str, rest: str) -> None:
    assert strip_command(message) == rest


@given(st.text(st.characters(), max_size=500))
def test_any_text_can_be_asked(message: str) -> None:
    assert lane_in_words(read_text(message)) in {None, "fast", "slow"}
    assert strip_command(message) in message


def test_a_long_text_is_read_at_both_ends_only() -> None:
    assert lane_in_words(read_text("word " * 40_000 + "think hard")) == "slow"
    assert lane_in_words(read_text("word " * 20_000 + "think hard" + " word" * 20_000)) is None
