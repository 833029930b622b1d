"""Answers typed questions by reading the fast model's next-token probabilities: no text is generated, nothing is trained.

The options stand in the prompt as letters. The probabilities of each letter's spellings ("A", " A", "a") are summed, renormalised over the options
and brought to a fitted temperature. Servers tell log-probabilities before temperature and grammar, so sampling settings do not matter. More options
than letters are asked in groups, then the groups' winners against each other. Knows no door and no router.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fast_model.question_prompts import LETTERS, Frame, cut_state, frame_of, frame_tokens, messages_for, option_texts
from fast_model.readout_calibration import ReadoutCalibration, tempered
from tandem.errors import InvalidRequest, ModelContextExceeded, ModelTimeout, ModelUnavailable
from tandem.models.question_codecs import text_of
from tandem.ports import ChatModel
from tandem.schemas.chat import ChatRequest, TokenChance
from tandem.schemas.questions import AnswerSet, Question, QuestionAnswer, QuestionSet

TOP_LOGPROBS: Final = 20
"""The most vLLM (by default) and OpenAI tell; llama.cpp tells any number."""
MAX_CALLS: Final = 512
"""Prompts one set of questions may cost."""
MOST_STATE_TOKENS: Final = 1_500
"""Longer states are cut: a small model's judgement of what is longer is no better, and every set pays for reading it."""
LEAST_STATE_TOKENS: Final = 64


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the model said to one prompt or to several."""

    logits: list[float] | None
    """None: it put its probability on no option."""
    input_tokens: int
    output_tokens: int


class ReadoutModel:
    """Implements ``ports.DecisionModel`` over a chat model whose server tells log-probabilities.

    Args:
        chat: The fast model; it stays its owner's to close.
        calibration: Temperatures of this model and prompt.
        context_tokens: What fits one prompt.
        concurrency: Prompts at once, of all callers together: the server's slots are there for streams first.
        timeout_s: Longest a whole set may take, waiting included.
    """

    def __init__(
        self, chat: ChatModel, calibration: ReadoutCalibration, *, context_tokens: int, concurrency: int = 1, timeout_s: float = 60.0
    ) -> None:
        self._chat = chat
        self._calibration = calibration
        self._context_tokens = context_tokens
        self._turns = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        return self._chat.name

    async def answer(self, asked: QuestionSet) -> AnswerSet:
        """One answer per question, asked one after the other so that the state is read once."""
        _check_work(asked)
        whole = text_of(asked.state)
        frame = frame_of(whole)
        state, left_out = cut_state(whole, self._room(asked.questions, frame), frame)
        answers: list[QuestionAnswer] = []
        readings: list[_Reading] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                for question in asked.questions:
                    answer, reading = await self._answer(state, question, frame)
                    answers.append(answer)
                    readings.append(reading)
        except TimeoutError:
            done = f"{len(answers)} of {len(asked.questions)} questions"
            raise ModelTimeout(f"the fast model had answered {done} after {self._timeout_s:g} s; ask fewer at once, or ask again later") from None
        return AnswerSet(
            model=self.name,
            calibration=self._calibration.version,
            answers=answers,
            input_tokens=sum(reading.input_tokens for reading in readings),
            output_tokens=sum(reading.output_tokens for reading in readings),
            left_out_chars=left_out,
        )

    async def close(self) -> None:
        """Nothing of its own is open."""

    def _room(self, questions: Sequence[Question], frame: Frame) -> int:
        """Tokens for the state beside the longest question."""
        sizes = [frame_tokens(question, frame) for question in questions]
        room = self._context_tokens - max(sizes) - 1
        if room < LEAST_STATE_TOKENS:
            longest = questions[sizes.index(max(sizes))].name
            raise ModelContextExceeded(
                f"the question {longest!r} takes about {max(sizes)} tokens with its options, and {self._context_tokens} fit together with the text; "
                "shorten its instructions or its options",
                param="questions",
            )
        return min(room, MOST_STATE_TOKENS)

    async def _answer(self, state: str, question: Question, frame: Frame) -> tuple[QuestionAnswer, _Reading]:
        reading = await self._read(state, question, option_texts(question, frame), frame)
        probabilities = [] if reading.logits is None else tempered(reading.logits, self._calibration.temperature(question.kind))
        answer = QuestionAnswer(name=question.name, kind=question.kind, probabilities=probabilities, is_refused=not probabilities)
        return answer, reading

    async def _read(self, state: str, question: Question, options: Sequence[str], frame: Frame) -> _Reading:
        """Log-odds of all options, in as many rounds as it takes."""
        if len(options) <= len(LETTERS):
            return await self._read_once(state, question, options, frame)
        groups = split(options)
        readings = [await self._read_once(state, question, group, frame) for group in groups]
        within = [reading.logits or [0.0] * len(group) for group, reading in zip(groups, readings, strict=True)]
        winners = [group[own.index(max(own))] for group, own in zip(groups, within, strict=True)]
        final = await self._read_once(state, question, winners, frame)
        logits = None
        if final.logits is not None:
            # a winner stands for its group: the others keep their odds against it
            logits = [winner + logit - max(own) for winner, own in zip(final.logits, within, strict=True) for logit in own]
        everything = (*readings, final)
        tokens_in, tokens_out = sum(reading.input_tokens for reading in everything), sum(reading.output_tokens for reading in everything)
        return _Reading(logits, tokens_in, tokens_out)

    async def _read_once(self, state: str, question: Question, options: Sequence[str], frame: Frame) -> _Reading:
        request = ChatRequest(messages=messages_for(state, question, options, frame), max_tokens=1, temperature=0.0, top_logprobs=TOP_LOGPROBS)
        async with self._turns:
            reply = await self._chat.complete(request)
        if reply.text and not reply.chances:
            raise ModelUnavailable(
                f"the server of {self.name!r} tells no log-probabilities, so typed questions cannot be read out of it; "
                "serve the fast model by llama.cpp or vLLM, or set router.decision_model_url"
            )
        logits = option_logits(reply.chances[0], len(options)) if reply.chances else None
        return _Reading(logits, reply.usage.input_tokens, reply.usage.output_tokens)


def option_logits(chance: TokenChance, count: int) -> list[float] | None:
    """Log of each letter's summed probability; None when no option is among the likeliest tokens.

    A letter that is not told stands below the last that is: it gets that bound.
    """
    told = chance.top or [(chance.token, chance.logprob)]
    masses = [0.0] * count
    for token, logprob in told:
        letter = token.strip().strip(".):：。").upper()
        if len(letter) == 1 and (place := LETTERS.find(letter)) in range(count):
            masses[place] += math.exp(logprob)
    if not any(masses):
        return None
    bound = min(logprob for _, logprob in told)
    return [math.log(mass) if mass > 0 else bound for mass in masses]


def split(options: Sequence[str]) -> list[Sequence[str]]:
    """Groups of at most as many options as there are letters, as even as can be."""
    count = math.ceil(len(options) / len(LETTERS))
    borders = [len(options) * at // count for at in range(count + 1)]
    return [options[start:end] for start, end in pairwise(borders)]


def _check_work(asked: QuestionSet) -> None:
    calls = 0
    for question in asked.questions:
        groups = math.ceil(max(2, len(question.options)) / len(LETTERS))
        calls += groups if groups == 1 else groups + 1
    if calls > MAX_CALLS:
        raise InvalidRequest(f"these questions take {calls} calls of the model, {MAX_CALLS} are allowed; ask fewer at once", param="questions")
