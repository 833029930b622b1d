import asyncio
import math
import re
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from fast_model.prompts import estimate_tokens
from fast_model.question_prompts import LETTERS, cut_state, frame_of, messages_for, option_texts
from fast_model.readout import ReadoutModel, option_logits, split
from fast_model.readout_calibration import FittedTemperature, ReadoutCalibration, raw_calibration
from tandem.errors import InvalidRequest, ModelContextExceeded, ModelTimeout, ModelUnavailable
from tandem.schemas.chat import ChatDelta, ChatReply, ChatRequest, TokenChance, TokenUsage
from tandem.schemas.questions import Option, Question, QuestionSet

NOUL = Question(name="simple", kind="noul", instructions="Is it simple?")
Tell = Callable[[str], dict[str, float]]


class Telling:
    """A chat model whose next-token probabilities follow from the prompt."""

    name = "telling"

    def __init__(self, tell: Tell, *, has_logprobs: bool = True) -> None:
        self._tell = tell
        self._has_logprobs = has_logprobs
        self.asked: list[ChatRequest] = []
        self.at_once = 0
        self.most_at_once = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        told = sorted(self._tell(request.messages[-1].content).items(), key=lambda pair: -pair[1])
        top = [(token, math.log(p)) for token, p in told]
        chances = [TokenChance(token=top[0][0], logprob=top[0][1], top=top)] if self._has_logprobs and top else []
        text = top[0][0] if top else ""
        return ChatReply(text=text, finish_reason="length", usage=TokenUsage(input_tokens=10, output_tokens=1), model=self.name, chances=chances)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        raise AssertionError("the readout asks for whole replies")
        yield

    async def check(self) -> str:
        return self.name

    async def close(self) -> None:
        return None


def always(**probabilities: float) -> Tell:
    return lambda _: probabilities


def readout(
    chat: Telling, *, context_tokens: int = 4_096, temperature: float | None = None, timeout_s: float = 5, concurrency: int = 1
) -> ReadoutModel:
    calibration = raw_calibration(chat.name)
    if temperature is not None:
        fitted = FittedTemperature(temperature=temperature, rows=9, loss_before=1, loss_after=1, ece_before=0, ece_after=0, accuracy=1)
        temperatures = {"noul": fitted}
        calibration = ReadoutCalibration.model_validate(calibration.model_dump() | {"version": "v7", "temperatures": temperatures})
    return ReadoutModel(chat, calibration, context_tokens=context_tokens, concurrency=concurrency, timeout_s=timeout_s)


def lettered(prompt: str) -> dict[str, str]:
    """Letter of each option of a prompt."""
    return {option: letter for letter, option in re.findall(r"^([A-P])\. (.+)$", prompt, re.MULTILINE)}


async def test_probabilities_are_those_of_the_letters_renormalised_over_the_options() -> None:
    chat = Telling(always(A=0.6, B=0.2, C=0.1, Yes=0.1))
    reply = await readout(chat).answer(QuestionSet(state="Hi", questions=[NOUL]))
    assert reply.answers[0].probabilities == pytest.approx([0.75, 0.25])
    assert (reply.model, reply.calibration, reply.input_tokens, reply.output_tokens) == ("telling", "none", 10, 1)
    request = chat.asked[0]
    assert (request.max_tokens, request.temperature, request.top_logprobs) == (1, 0.0, 20)


def test_the_spellings_of_a_letter_are_summed() -> None:
    spelt = {"A": 0.2, " A": 0.1, "a": 0.1, "A.": 0.1, "B": 0.3, " b": 0.2, "AB": 0.1}
    top = [(token, math.log(p)) for token, p in spelt.items()]
    logits = option_logits(TokenChance(token="B", logprob=math.log(0.3), top=top), 2)
    assert logits is not None
    assert [math.exp(logit) for logit in logits] == pytest.approx([0.5, 0.5])


def test_a_letter_that_is_not_told_gets_the_bound_of_the_last_one_told() -> None:
    logits = option_logits(TokenChance(token="A", logprob=-0.1, top=[("A", -0.1), ("x", -4.0)]), 2)
    assert logits == pytest.approx([-0.1, -4.0])


async def test_a_model_that_thinks_of_no_option_refuses_the_question_and_answers_the_others() -> None:
    chat = Telling(lambda prompt: {"Well": 0.9, "C": 0.1} if "simple" in prompt else {"A": 1.0})
    reply = await readout(chat).answer(QuestionSet(state="Hi", questions=[NOUL, NOUL.model_copy(update={"instructions": "Is it hard?"})]))
    assert [answer.is_refused for answer in reply.answers] == [True, False]


async def test_a_model_that_says_nothing_refuses() -> None:
    reply = await readout(Telling(always())).answer(QuestionSet(state="Hi", questions=[NOUL]))
    assert reply.answers[0].is_refused


async def test_a_server_without_log_probabilities_is_named_with_the_remedy() -> None:
    with pytest.raises(ModelUnavailable, match=r"llama\.cpp or vLLM"):
        await readout(Telling(always(A=1.0), has_logprobs=False)).answer(QuestionSet(state="Hi", questions=[NOUL]))


async def test_a_fitted_temperature_flattens_the_probabilities_and_is_named() -> None:
    chat = Telling(always(A=0.9, B=0.1))
    reply = await readout(chat, temperature=2.0).answer(QuestionSet(state="Hi", questions=[NOUL]))
    assert reply.answers[0].probabilities == pytest.approx([0.75, 0.25])
    assert reply.calibration == "v7"


@pytest.mark.parametrize("count", [16, 17, 26, 27, 100, 255])
async def test_more_options_than_letters_are_asked_in_groups_and_the_right_one_wins(count: int) -> None:
    options = [f"option-{at}" for at in range(count)]
    right = options[count * 2 // 3]

    def tell(prompt: str) -> dict[str, float]:
        letters = lettered(prompt)
        return {letter: (0.9 if option == right else 0.01) for option, letter in letters.items()}

    chat = Telling(tell)
    question = Question(name="which", kind="choice", instructions="Which?", options=[Option(value=option) for option in options])
    probabilities = (await readout(chat).answer(QuestionSet(state="Hi", questions=[question]))).answers[0].probabilities
    assert len(probabilities) == count
    assert sum(probabilities) == pytest.approx(1)
    assert options[probabilities.index(max(probabilities))] == right
    groups = math.ceil(count / len(LETTERS))
    assert len(chat.asked) == (1 if groups == 1 else groups + 1)


async def test_groups_that_a_model_has_no_word_on_are_even_within() -> None:
    options = [f"option-{at}" for at in range(20)]
    chat = Telling(lambda prompt: {"A": 0.75, "B": 0.25} if "option-0" in prompt and "option-10" in prompt else {"Hm": 1.0})
    question = Question(name="which", kind="choice", instructions="Which?", options=[Option(value=option) for option in options])
    probabilities = (await readout(chat).answer(QuestionSet(state="Hi", questions=[question]))).answers[0].probabilities
    assert probabilities == pytest.approx([0.075] * 10 + [0.025] * 10)


def test_groups_hold_every_option_once_in_order_and_are_never_too_large() -> None:
    for count in range(1, 256):
        options = [str(at) for at in range(count)]
        groups = split(options)
        assert [option for group in groups for option in group] == options
        assert max(map(len, groups)) <= len(LETTERS)
        assert max(map(len, groups)) - min(map(len, groups)) <= 1


async def test_a_long_state_is_cut_in_the_middle_and_that_is_said() -> None:
    chat = Telling(always(A=1.0))
    state = f"begin {'x ' * 20_000}end"
    reply = await readout(chat, context_tokens=1_024).answer(QuestionSet(state=state, questions=[NOUL]))
    prompt = chat.asked[0].messages[-1].content
    assert "begin" in prompt
    assert "end\n\nQuestion" in prompt
    assert f"[… {reply.left_out_chars} characters left out …]" in prompt
    assert sum(estimate_tokens(message.content) for message in chat.asked[0].messages) <= 1_024


@pytest.mark.parametrize("state", ["short", "很长的文本" * 2_000, "plain " * 5_000, "plain " * 3_000 + "汉字" * 3_000, "汉" * 1_501])
def test_a_cut_state_fits_and_accounts_for_every_character(state: str) -> None:
    frame = frame_of(state)
    text, left_out = cut_state(state, 1_500, frame)
    assert estimate_tokens(text) <= 1_500
    assert (left_out == 0) == (text == state)
    assert left_out < len(state)


async def test_a_question_that_leaves_no_room_for_the_state_is_refused_by_name() -> None:
    long = NOUL.model_copy(update={"instructions": "x " * 3_000})
    with pytest.raises(ModelContextExceeded, match="'simple'"):
        await readout(Telling(always(A=1.0)), context_tokens=1_024).answer(QuestionSet(state="Hi", questions=[long]))


async def test_more_work_than_one_request_may_cost_is_refused_before_the_model_is_asked() -> None:
    chat = Telling(always(A=1.0))
    many = Question(name="q", kind="choice", instructions="?", options=[Option(value=str(at)) for at in range(255)])
    with pytest.raises(InvalidRequest, match="697 calls"):
        await readout(chat).answer(QuestionSet(state="Hi", questions=[many] * 41))
    assert not chat.asked


async def test_prompts_of_all_callers_together_are_bounded() -> None:
    chat = Telling(always(A=1.0))
    model = readout(chat, concurrency=2)
    await asyncio.gather(*(model.answer(QuestionSet(state=str(at), questions=[NOUL, NOUL])) for at in range(10)))
    assert (len(chat.asked), chat.most_at_once) == (20, 2)


async def test_a_slow_model_is_given_up_and_says_how_far_it_came() -> None:
    class Stuck(Telling):
        async def complete(self, request: ChatRequest) -> ChatReply:
            if len(self.asked) == 1:
                await asyncio.Event().wait()
            return await super().complete(request)

    with pytest.raises(ModelTimeout, match="1 of 2 questions"):
        await readout(Stuck(always(A=1.0)), timeout_s=0.01).answer(QuestionSet(state="Hi", questions=[NOUL, NOUL]))


def test_the_state_comes_first_and_the_same_for_every_question() -> None:
    first, second = (messages_for("The text", NOUL.model_copy(update={"instructions": asked}), ["yes", "no"], "en")[-1].content for asked in "ab")
    assert first.split("Question")[0] == second.split("Question")[0] == "Text:\nThe text\n\n"


@pytest.mark.parametrize(
    ("state", "frame", "options"),
    [("Book a table", "en", ["yes", "no: later"]), ("订一张桌子", "zh", ["是", "否: later"]), ("", "en", ["yes", "no: later"])],
)
def test_the_words_around_a_question_are_in_the_language_of_the_state(state: str, frame: str, options: Sequence[str]) -> None:
    assert frame_of(state) == frame
    question = NOUL.model_copy(update={"options": [Option(value=True), Option(value=False, description="later")]})
    assert option_texts(question, frame_of(state)) == options


def test_a_boolean_option_is_shown_as_json_writes_it() -> None:
    question = Question(name="a", kind="choice", instructions="?", options=[Option(value=True, description="it is"), Option(value="other")])
    assert option_texts(question, "en") == ["true: it is", "other"]
