import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.check import confidence_of, drafts_differ, judge_answer
from tandem.schemas.chat import FinishReason, TokenChance
from tandem.schemas.policies import CheckRules
from tandem.schemas.routing import Language

RULES = CheckRules(min_confidence=0.5)
PROBABILITY = st.floats(min_value=1e-6, max_value=1.0)


def chances(*probabilities: float, text: str = "so") -> list[TokenChance]:
    return [TokenChance(token=text, logprob=math.log(probability)) for probability in probabilities]


def reasons(question: str, answer: str, finish: FinishReason | None = "stop", language: Language = "en") -> Sequence[str]:
    return judge_answer(question, answer, finish, [], RULES, language).reasons


def test_a_sure_plain_answer_passes() -> None:
    verdict = judge_answer("What is the capital of France?", "Paris.", "stop", chances(0.9, 0.95), RULES, "en")
    assert (verdict.passed, verdict.reasons) == (True, ())
    assert verdict.confidence == pytest.approx((0.9 + 0.95 + 0.9) / 3)


def test_the_least_sure_fifth_counts_double() -> None:
    assert confidence_of(chances(*[1.0] * 8, 0.1, 0.1)) == pytest.approx((8 + 0.2 + 0.2) / 12)


def test_punctuation_and_blanks_do_not_count() -> None:
    assert confidence_of([*chances(0.8), *chances(0.01, text=" \n"), *chances(0.01, text="，")]) == pytest.approx(0.8)


def test_without_told_chances_there_is_no_confidence_and_the_words_decide() -> None:
    verdict = judge_answer("Who?", "Somebody.", "stop", [], RULES, "en")
    assert (verdict.passed, verdict.confidence) == (True, None)


def test_an_unsure_model_fails_below_the_policys_least_confidence_only() -> None:
    told = chances(0.5, 0.5)
    assert judge_answer("Who?", "Somebody.", "stop", told, CheckRules(min_confidence=0.51), "en").reasons == ("low_confidence",)
    assert judge_answer("Who?", "Somebody.", "stop", told, CheckRules(min_confidence=0.49), "en").passed


@given(st.lists(PROBABILITY, min_size=1, max_size=60))
def test_confidence_lies_between_the_least_and_the_mean_probability(probabilities: list[float]) -> None:
    confidence = confidence_of(chances(*probabilities))
    assert confidence is not None
    assert min(probabilities) - 1e-9 <= confidence <= sum(probabilities) / len(probabilities) + 1e-9


@given(st.lists(PROBABILITY, min_size=1, max_size=30), st.floats(min_value=1.0, max_value=5.0))
def test_a_surer_model_is_never_less_confident(probabilities: list[float], factor: float) -> None:
    surer = [min(1.0, probability * factor) for probability in probabilities]
    assert (confidence_of(chances(*surer)) or 0) >= (confidence_of(chances(*probabilities)) or 0) - 1e-9


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot answer this question.",
        "As an AI language model, I have no opinions.",
        "很抱歉，我无法回答这个问题。",
        "作为一个人工智能助手，我没有这个能力。",
    ],
)
def test_refusals_fail(answer: str) -> None:
    assert "refusal" in reasons("What happened?", answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm not sure, but maybe 1920.",
        "I don't know.",
        "It is unclear who wrote it.",
        "我不太确定，可能是1920年。",
        "我不知道。",
        "目前没有足够的信息来判断。",
    ],
)
def test_doubts_fail(answer: str) -> None:
    assert "unsure" in reasons("When was it?", answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Translate “I don't know” into French.", "“I don't know” is “Je ne sais pas”."),
        ("I lost my job.", "I'm sorry to hear that. What happened?"),
        ("把“我不知道”翻译成英语", "“我不知道”的英语是 I have no idea."),
        ("Is the sky blue?", "Yes, and I am sure."),
    ],
)
def test_quoted_and_kind_words_are_no_signs(question: str, answer: str) -> None:
    assert reasons(question, answer) == ()


def test_an_answer_that_ends_where_the_caller_wanted_is_not_cut() -> None:
    question, answer = "Write a detailed report on tea.", "Tea is"
    for finish, is_bounded, found in (("length", True, ()), ("length", False, ("cut", "too_short")), ("stop", True, ("too_short",))):
        assert judge_answer(question, answer, finish, [], RULES, "en", is_bounded=is_bounded).reasons == found  # type: ignore[arg-type]


@pytest.mark.parametrize(("answer", "finish", "reason"), [("", "stop", "empty"), (" …\n", "stop", "empty"), ("Once upon a", "length", "cut")])
def test_an_answer_without_words_or_without_an_end_fails(answer: str, finish: FinishReason, reason: str) -> None:
    assert reason in reasons("Tell me a story.", answer, finish)


@pytest.mark.parametrize("answer", ["The cat sat on the mat. " * 12, "这个问题很有意思。" * 12, "ha" * 60])
def test_a_loop_fails(answer: str) -> None:
    assert "loop" in reasons("Tell me something.", answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Repeat the sentence ten times.", "The cat sat on the mat. " * 12),
        ("Draw a line.", "-" * 200),
        ("Make a table.", "| a | b |\n|---|---|---|---|---|\n| 1 | 2 |"),
        ("Count.", " ".join(str(number) for number in range(1, 200))),
    ],
)
def test_wished_repetition_rules_and_counting_are_no_loops(question: str, answer: str) -> None:
    assert "loop" not in reasons(question, answer)


@pytest.mark.parametrize(
    ("question", "answer", "language"),
    [
        ("Write a detailed report on the history of tea in Europe.", "Tea came to Europe in 1610.", "en"),
        ("请写一份关于茶叶历史的报告", "茶叶起源于中国。", "zh"),
        ("Write 500 words about tea.", "Tea is a drink that many people like.", "en"),
        ("写一篇800字的作文，题目是春天", "春天来了，花开了。", "zh"),
    ],
)
def test_a_few_words_to_a_brief_fail(question: str, answer: str, language: Language) -> None:
    assert "too_short" in reasons(question, answer, language=language)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Summarise this in at most 50 words.", "Tea came late."),
        ("Write a short title for a report on tea.", "Leaves of Change"),
        ("不超过100字介绍茶", "茶是一种饮料。"),
        ("What is a report?", "A document."),
    ],
)
def test_a_short_answer_where_little_was_asked_passes(question: str, answer: str) -> None:
    assert reasons(question, answer) == ()


@pytest.mark.parametrize(
    ("question", "first", "second", "differ"),
    [
        ("How many legs do 3 spiders have?", "24 legs.", "It is 24.", False),
        ("How many legs do 3 spiders have?", "24 legs.", "It is 18.", True),
        ("三只蜘蛛有多少条腿？", "二十四条。", "24条腿。", False),
        ("Pick one:\nA. red\nB. blue\nC. green", "The answer is B.", "(B) blue", False),
        ("Pick one:\nA. red\nB. blue\nC. green", "The answer is B.", "C", True),
        ("What is the capital of France?", "Paris.", "The capital of France is Paris.", False),
        ("What is the capital of Australia?", "The capital of Australia is Canberra.", "The capital of Australia is Sydney.", True),
        ("澳大利亚的首都是哪里？", "澳大利亚的首都是堪培拉。", "是悉尼。", True),
        ("澳大利亚的首都是哪里？", "澳大利亚的首都是堪培拉。", "堪培拉", False),
        ("Who painted it?", "Rembrandt did.", "Vermeer of Delft", True),
        ("Write a poem.", "Roses " * 80, "Violets " * 80, False),
    ],
)
def test_drafts_differ_in_their_number_their_choice_or_nearly_all_their_words(question: str, first: str, second: str, differ: bool) -> None:
    assert drafts_differ(question, first, second) is differ


def test_a_second_draft_counts_only_where_the_rules_want_one() -> None:
    asked = ("How many?", "18", "stop", chances(0.9), CheckRules(), "en", "24")
    assert judge_answer(*asked).passed
    wanted = judge_answer(*asked[:4], CheckRules(second_draft=True), *asked[5:])
    assert wanted.reasons == ("drafts_differ",)


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=100))
def test_any_texts_can_be_judged(question: str, answer: str, draft: str) -> None:
    verdict = judge_answer(question, answer, "stop", [], CheckRules(second_draft=True), "other", draft)
    assert verdict.passed is (verdict.reasons == ())
