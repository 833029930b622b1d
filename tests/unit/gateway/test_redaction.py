"""Kept prompts: what is masked, what stays, and that a cut uncovers nothing."""

import pytest

from gateway.redaction import HEAD_CHARS, TAIL_CHARS, excerpt, redact


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("write to ann.lee+x@mail.example.org today", "write to [mail] today"),
        ("call +49 (170) 123-45 67 now", "call [number] now"),
        ("我的手机号是13812345678，帮我查一下", "我的手机号是[number]，帮我查一下"),
        ("card 4111 1111 1111 1111 was refused", "card [number] was refused"),
        ("my password: hunter2!, reset it", "my password: [secret], reset it"),
        ("密码是 Tiger#99。请记住", "密码是 [secret]。请记住"),
        ("curl -H 'Authorization: Bearer abc.def-ghi123'", "curl -H 'Authorization: Bearer [secret]'"),
        ("use sk-proj-abcdEFGH1234567890 here", "use [key] here"),
        ("digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "digest [key]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nwhy?", "[key]\nwhy?"),
    ],
)
def test_what_points_to_a_person_or_opens_a_door_is_masked(text: str, kept: str) -> None:
    assert redact(excerpt(text)) == kept


@pytest.mark.parametrize(
    "text",
    [
        "What is 12 * 345?",
        "Compare the years 2019-2024 and 2024-05-17.",
        "证明根号2是无理数",
        "def add(a, b): return a + b",
        "the 3.141592 of pi",
    ],
)
def test_ordinary_words_and_numbers_stay(text: str) -> None:
    assert redact(excerpt(text)) == text


def test_a_long_message_keeps_its_head_and_tail() -> None:
    text = "head " * 500 + "middle " * 5_000 + "tail " * 500
    kept = redact(excerpt(text))
    assert (kept[:9], kept[-5:]) == ("head head", "tail ")
    assert "middle" not in kept
    assert len(kept) <= HEAD_CHARS + TAIL_CHARS + 1


@pytest.mark.parametrize("at", range(1_585, 1_606))
def test_a_cut_leaves_no_half_of_what_is_masked(at: int) -> None:
    """Secrets in front shrink to short masks, so that the cut moves into what is kept."""
    text = "9" * (at - 1) + " ann.lee@mail.example.org 4111 1111 1111 1111 " + "x " * 2_000
    kept = redact(excerpt(text))
    assert not [part for part in ("ann", "411", "999") if part in kept]


def test_a_hostile_text_takes_linear_time() -> None:
    for piece in ("a", "a.", "1 ", "password ", "eyJ", "-----BEGIN A"):
        redact(excerpt(piece * 200_000))
