import pytest

from fast_model.prompts import (
    MESSAGE_TOKENS,
    SYSTEM_PROMPTS,
    Language,
    acknowledgement,
    check_title,
    copilot_messages,
    correction_task,
    doubt,
    estimate_tokens,
    unchecked_doubt,
    waited_doubt,
)
from tandem.schemas.chat import ChatMessage, Role


def message(role: Role, content: str) -> ChatMessage:
    return ChatMessage(role=role, content=content)


HISTORY = [message("user", "Who wrote Faust?"), message("assistant", "Goethe."), message("user", "When?")]


def test_the_english_prompt_is_this() -> None:
    assert SYSTEM_PROMPTS["en"] == (
        "You are Tandem's copilot, the quick half of an assistant that also has a slower, more careful half for hard tasks. "
        "Answer briefly and directly, in the language of the user's last message. "
        "If you do not know or are not sure, say so. Never invent facts, sources, or results, and never claim to have done something you have not."
    )


def test_the_chinese_prompt_is_this() -> None:
    assert SYSTEM_PROMPTS["zh"] == (
        "你是 Tandem 的副驾驶，负责快速回答；困难的任务由更慢、更仔细的另一半在后台完成。"
        "请用用户最后一条消息的语言，简短直接地回答。"
        "不知道或不确定时要直说。不要编造事实、来源或结果，也不要声称做过没有做的事。"
    )


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("en", "This needs careful work, so I have started a background job: “Plan {x}”. You can keep talking to me; the result will appear here."),
        ("zh", "这件事需要仔细做，我已经在后台开始处理：“Plan {x}”。您可以继续和我聊，结果会出现在这里。"),
        (
            "other",
            "This needs careful work, so I have started a background job: “Plan {x}”. You can keep talking to me; the result will appear here.",
        ),
    ],
)
def test_the_line_at_a_jobs_start_is_this(language: Language, line: str) -> None:
    assert acknowledgement(language, "Plan\n {x}") == line


def test_a_long_title_is_cut() -> None:
    assert "“" + "x" * 79 + "…”" in acknowledgement("en", "x" * 500)


def test_a_short_history_is_shown_whole() -> None:
    assert copilot_messages(HISTORY, "en") == [message("system", SYSTEM_PROMPTS["en"]), *HISTORY]


def test_the_oldest_messages_go_first() -> None:
    tokens = sum(estimate_tokens(text) + MESSAGE_TOKENS for text in (SYSTEM_PROMPTS["en"], "When?"))
    assert copilot_messages(HISTORY, "en", context_tokens=tokens + 100, reply_tokens=100)[1:] == HISTORY[2:]


def test_a_kept_history_never_starts_with_an_answer() -> None:
    tokens = sum(estimate_tokens(text) + MESSAGE_TOKENS for text in (SYSTEM_PROMPTS["en"], "Goethe.", "When?"))
    assert copilot_messages(HISTORY, "en", context_tokens=tokens + 100, reply_tokens=100)[1:] == HISTORY[2:]


def test_the_newest_message_is_kept_even_when_it_does_not_fit() -> None:
    long = message("user", "word " * 50_000)
    assert copilot_messages([*HISTORY, long], "en")[1:] == [long]


def test_system_messages_join_the_prompt() -> None:
    shown = copilot_messages([message("system", "Speak like a pirate."), *HISTORY], "zh")
    assert [part.role for part in shown] == ["system", "user", "assistant", "user"]
    assert shown[0].content == SYSTEM_PROMPTS["zh"] + "\n\nSpeak like a pirate."


def test_no_history_is_the_prompt_alone() -> None:
    assert copilot_messages([], "en") == [message("system", SYSTEM_PROMPTS["en"])]


def test_chinese_counts_a_token_for_each_character() -> None:
    assert estimate_tokens("你好世界") == 5
    assert estimate_tokens("abcdef") == 3


def test_the_lines_about_a_doubtful_answer_are_these() -> None:
    assert doubt("en", "Add {x}") == ("I am not sure about this answer, so I have started a careful check: “Add {x}”. Its result will appear here.")
    assert doubt("zh", "加法") == "我对这个回答没有把握，已经开始仔细核对：“加法”。结果会出现在这里。"
    assert waited_doubt("en") == waited_doubt("other") == "I am not sure about this answer; it is being checked carefully."
    assert waited_doubt("zh") == "我对这个回答没有把握，正在仔细核对。"
    assert unchecked_doubt("en") == "I am not sure about this answer, and it could not be checked more carefully."
    assert unchecked_doubt("zh") == "我对这个回答没有把握，也没能进一步核对。"
    assert (check_title("en", "Add"), check_title("zh", "加法")) == ("Check: Add", "核对：加法")


def test_a_correction_begins_with_the_task_and_shows_the_answer_in_doubt() -> None:
    *before, task, answer, again = correction_task([*HISTORY[:2], message("user", "What is 3 × 8?")], "18", "en")
    assert (before, task.content, answer) == (HISTORY[:2], "What is 3 × 8?", message("assistant", "18"))
    assert again.content == (
        "What is 3 × 8?\n\n(The reply above came at once from a small model and may be wrong. "
        "Work this out anew and with care, then confirm or correct that reply.)"
    )


def test_a_correction_of_nothing_is_the_task_alone_and_a_long_answer_is_cut() -> None:
    asked = [message("user", "三乘八？")]
    assert correction_task(asked, " \n", "zh") == asked
    assert len(correction_task(asked, "x" * 9_000, "zh")[1].content) == 4_001
    assert "确认或纠正" in correction_task(asked, "18", "zh")[-1].content
