"""The shipped artefact on requests that must not go wrong. Greetings, weather and small talk also stand in the training seeds; the rest does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.artifacts import load_classifier
from router.policy import Policy, decide
from tandem.ports import Classifier, Turns

FAST = [
    "你好",
    "hi",
    "Hi!",
    "thanks",
    "谢谢",
    "ok",
    "嗯",
    "",
    "👋",
    "how are you?",
    "what is the capital of France?",
    "法国的首都是哪里？",
    "今天天气怎么样",
    "is it going to be sunny this weekend in Paris",
    "what's 2+2?",
    "1+1等于几",
    "tell me a joke",
    "讲个笑话",
    "translate good morning to french",
    "How tall is Mount Everest?",
    "珠穆朗玛峰有多高？",
    "how many people live in Portugal?",
    "推荐几本书",
    "My day was awful, my boss shouted at me and I missed the bus.",
    "continue",
    "继续",
]
SLOW = [
    "A baker has 24 cupcakes. She sells half of them in the morning and 5 more in the afternoon. How many cupcakes are left?",
    "Tom is twice as old as Ann. In 10 years their ages add up to 50. How old is Tom?",
    "小明有12个苹果，给了小红3个，又买了8个，现在有多少个苹果？",
    "一列火车每小时行80千米，3小时后还剩60千米，全程多少千米？",
    "plan a three-day trip to Kyoto under $800 with vegetarian food and one temple a day",
    "请帮我制定一个三天的京都旅行计划，预算5000元以内，要包含素食餐厅",
    "write a function that parses ISO dates, with tests",
    "用Python写一个函数，解析日期并写测试",
    "Prove that if n is even then n^2 is even, and conclude that sqrt(2) is irrational.",
    "设a、b、c为正数且a+b+c=1，证明1/a+1/b+1/c不小于9",
    "Research the impact of microplastics on human health and write a report with citations",
    "深入调研新能源汽车电池回收行业的现状与趋势，写一份详细的报告",
    "Compare the economic policies of Sweden and Denmark since 1990 and assess which one did better",
    "从商业模式、用户、盈利三个维度对比拼多多与淘宝，给出投资建议",
    "Design a database schema for a hospital and explain the trade-offs",
    "I want to move to Canada with my family next year. Make me a plan covering visas, costs, schools and jobs.",
]


@pytest.mark.parametrize("message", FAST)
def test_chat_and_simple_questions_stay_fast(message: str, shipped: Classifier, policy: Policy) -> None:
    assert decide(Turns(text=message), shipped, policy).lane == "fast"


@pytest.mark.parametrize("message", SLOW)
def test_work_goes_slow(message: str, shipped: Classifier, policy: Policy) -> None:
    assert decide(Turns(text=message), shipped, policy).lane == "slow"


@pytest.mark.parametrize("message", FAST[:20:3] + SLOW[::3])
def test_case_and_spaces_do_not_change_the_lane(message: str, shipped: Classifier, policy: Policy) -> None:
    lanes = {decide(Turns(text=text), shipped, policy).lane for text in (message, message.upper(), f"  {message}\n")}
    assert len(lanes) == 1


@settings(max_examples=30, deadline=None)
@given(message=st.text(st.characters(), max_size=1_000))
def test_any_text_is_scored(message: str, shipped: Classifier) -> None:
    score = shipped.score(Turns(text=message))
    assert 0 <= score.p_slow <= 1
    assert len(score.contributions) <= 5
    sizes = [abs(weight) for _, weight in score.contributions]
    assert sizes == sorted(sizes, reverse=True)


def test_two_loads_score_alike(shipped: Classifier) -> None:
    turns = Turns(text="Plan a week in Rome for four people")
    assert load_classifier().score(turns) == shipped.score(turns)


@pytest.mark.parametrize("message", ["x" * 200_000, "你好。" * 60_000, "1 + 1 = 2\n" * 20_000])
def test_a_huge_text_is_decided(message: str, shipped: Classifier, policy: Policy) -> None:
    assert decide(Turns(text=message), shipped, policy).lane in {"fast", "slow"}


def test_contributions_never_copy_the_users_words(shipped: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="xyzzy plugh prove"), shipped, policy)
    assert not {"xyzzy", "plugh"} & {reason.feature for reason in decision.reasons}
