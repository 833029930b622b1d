import pytest

from router.ask import SCAN_CHARS, human_ask

STORY = "The cat sat on the mat and looked at the rain. " * 10
STORY_ZH = "今天早上下了很大的雨，街上没有什么人。" * 8


@pytest.mark.parametrize(
    ("message", "ask"),
    [
        ("<system-reminder>Plan first, then prove.</system-reminder>\nhi", "hi"),
        ("<context source='a'>long</context> what now? <tool_result>42</tool_result>", "what now?"),
        ("<DOCUMENTS>one</DOCUMENTS>who wrote it?", "who wrote it?"),
        ("> an old message\n> of two lines\nI disagree", "I disagree"),
        ("ok, thanks!\n\nOn Mon, 3 Nov 2025, Bob Smith wrote:\n> Please prove it.", "ok, thanks!"),
        ("收到\n\n-----原始邮件-----\n请证明这个定理", "收到"),
        ('{"rows": "' + "x" * 300 + '"}\nwhat is this?', "what is this?"),
        (f"Summarise this:\n{STORY}", "Summarise this:"),
        (f"{STORY}\n\nWhat is this text about?", "What is this text about?"),
        ("fruit,price,origin\napple,2,Spain\npear,3,Peru\nWhich is dearer?", "Which is dearer?"),
        ("根据以下文章回答下面问题：" + STORY_ZH, "根据以下文章回答下面问题："),
        (f"请把下面的文章翻译成英文：\n{STORY_ZH}", "请把下面的文章翻译成英文："),
    ],
)
def test_only_the_persons_own_words_are_left(message: str, ask: str) -> None:
    found = human_ask(message)
    assert found.text.strip() == ask
    assert found.carried > 0


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "> all of it is quoted",
        "I like <context> as a tag name",
        ">>> print(1)\n1",
        '{"a": 1}',
        "Solve the following: " + "if x is even then so is x squared, and " * 10,
        "Compare the two plans below and recommend one. " + STORY,
        f"Which is the main idea of this text? {STORY}\nA. cats\nB. rain\nC. mats\nD. all",
    ],
)
def test_a_message_that_is_the_ask_stays_whole(message: str) -> None:
    found = human_ask(message)
    assert found.text == message.strip()
    assert found.code_lines == 0


def test_fenced_code_is_counted_and_left_out() -> None:
    found = human_ask("Fix this:\n```python\ndef f():\n    return 1\n```\nthanks")
    assert found.text == "Fix this:\n```python\nthanks"
    assert found.code_lines == 3


@pytest.mark.parametrize(
    ("message", "options"),
    [("Which?\nA. x\nB. y\nC. z\nD. w\nAnswer:", 4), ("选哪个？A) 一 B）二 C）三", 3), ("I met A. B. Miller", 2)],
)
def test_answer_options_are_counted(message: str, options: int) -> None:
    assert human_ask(message).options == options


def test_the_ask_is_found_at_either_end_of_a_huge_message() -> None:
    filler = "data " * SCAN_CHARS
    assert human_ask(f"Start here. {filler}").text.startswith("Start here.")
    assert human_ask(f"{filler} Finish here.").text.endswith("Finish here.")


@pytest.mark.parametrize("unit", ["<context>", "[", '{"', ">\n", "```\n", "from: a\n", "On a wrote:", "\n", "<context>a</context>", "A. ", "(a) "])
def test_repeated_marks_do_not_raise(unit: str) -> None:
    message = unit * (100_000 // len(unit))
    assert human_ask(message).carried <= len(message)


def test_an_ask_in_wide_letters_is_read_as_in_plain_ones() -> None:
    plain = "Which is largest?\nA. the sun\nB. the moon\nC. the earth"
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in plain)
    assert human_ask(wide) == human_ask(plain)
    assert human_ask("用ＡＢＣ三个字母造句！").text == "用ＡＢＣ三个字母造句！", "Chinese marks stay as they are"
