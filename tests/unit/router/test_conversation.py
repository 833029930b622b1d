from dataclasses import replace

import pytest

from router.conversation import signs_of
from tandem.ports import Classifier, Turns

ASK = "How do I get the train from Oslo to Bergen on a Sunday?"


def after(text: str, *history: str) -> Turns:
    return Turns(text=text, history=history or (ASK,), previous_lane="fast")


def test_a_first_message_has_no_signs() -> None:
    signs = signs_of(Turns(text="that's wrong, continue"))
    assert (signs.turns, signs.reask, signs.is_negative, signs.is_continuation) == (0, 0.0, False, False)


@pytest.mark.parametrize(
    ("text", "earlier"),
    [
        (ASK, ASK),
        ("how do i get the train from oslo to bergen on sunday", ASK),
        ("请问从北京到上海的高铁要坐多久？", "从北京到上海的高铁要坐多久"),
    ],
)
def test_the_same_ask_again_is_a_reask(text: str, earlier: str) -> None:
    assert signs_of(after(text, earlier)).reask > 0.8
    assert signs_of(after(text, earlier, "thanks")).reask > 0.8


@pytest.mark.parametrize(("text", "earlier"), [("ok", "ok"), ("好的", "好的"), ("What about the weather in Rome?", ASK), ("", ASK)])
def test_courtesies_and_new_asks_are_no_reasks(text: str, earlier: str) -> None:
    assert signs_of(after(text, earlier)).reask < 0.5


def test_only_the_last_two_messages_are_compared() -> None:
    assert signs_of(after(ASK, ASK, "one message", "another message")).reask < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "That's wrong.",
        "that is not what I asked",
        "No, you misunderstood the question",
        "wrong",
        "are you sure?",
        "it doesn’t work",
        "not detailed enough",
        "不对，再想想",
        "你答错了",
        "太简单了，重新写",
        "答非所问",
        "这不是我要的",
    ],
)
def test_displeasure_is_noticed(text: str) -> None:
    assert signs_of(after(text)).is_negative


@pytest.mark.parametrize(
    "text",
    ["no problem, thanks", "What is wrong with my engine?", "I need a longer holiday", "谢谢，很好", "对不起，我迟到了", "No way to tell. Which?"],
)
def test_other_uses_of_such_words_are_not_displeasure(text: str) -> None:
    assert not signs_of(after(text)).is_negative


@pytest.mark.parametrize("text", ["continue", "Go on!", "ok, please continue", "keep going", "继续", "请继续说", "接着讲", "然后呢？", "What's next"])
def test_a_bare_continue_is_noticed(text: str) -> None:
    assert signs_of(after(text)).is_continuation


@pytest.mark.parametrize("text", ["continue the proof by induction on the number of vertices", "继续教育是什么", "go on a trip to Rome", "hello"])
def test_an_ask_of_its_own_is_no_continuation(text: str) -> None:
    assert not signs_of(after(text)).is_continuation


def test_a_running_job_makes_a_first_continue_one() -> None:
    signs = signs_of(Turns(text="continue", has_running_job=True, previous_lane="slow"))
    assert signs.is_continuation
    assert signs.has_running_job
    assert signs.previous_lane == "slow"


@pytest.mark.parametrize("text", [ASK, "That's wrong."])
def test_a_reask_and_displeasure_after_a_fast_answer_raise_p_slow(text: str, shipped: Classifier) -> None:
    alone, again = shipped.score(Turns(text=text)), shipped.score(after(text))
    assert again.p_slow > alone.p_slow + 0.05
    assert {"reask", "negative_feedback"} & {name for name, _ in again.contributions}


def test_after_a_slow_answer_they_change_nothing(shipped: Classifier) -> None:
    turns = replace(after(ASK), previous_lane="slow")
    assert shipped.score(turns).p_slow == shipped.score(Turns(text=ASK)).p_slow


def test_displeasure_is_about_the_ask_before(shipped: Classifier) -> None:
    hard, easy = "Compare three electric cars for a family and recommend one.", "hi"
    assert shipped.score(after("that's wrong", hard)).p_slow > shipped.score(after("that's wrong", easy)).p_slow


@pytest.mark.parametrize("text", ["hi", "thanks", "谢谢"])
def test_small_talk_goes_on_fast(text: str, shipped: Classifier) -> None:
    assert shipped.score(after(text, "hello", "thank you")).p_slow < 0.5
