"""Words around a typed question whose answer is read out of the fast model's next token: the options as letters, the answer's place at the end.

The state comes first and is the same for every question of a set, so that the server's prompt cache reads it once. Pure; English and Chinese.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fast_model.prompts import MESSAGE_TOKENS, estimate_tokens
from tandem.schemas.chat import ChatMessage
from tandem.schemas.questions import Option, Question

PROMPT_VERSION: Final = 1
"""Raised with every change of these words: a calibration is of one version."""
LETTERS: Final = "ABCDEFGHIJKLMNOP"
"""Options of one prompt. vLLM and OpenAI tell the 20 likeliest tokens at most, and a letter may take several of them by its spellings."""
HEAD_SHARE: Final = 2 / 3
"""Of a state that is cut, the part kept from its start; the rest is its end."""
ZH_SHARE: Final = 0.2
"""From this share of Chinese characters on, the words around the question are Chinese."""

Frame = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class _Words:
    system: str
    state: str
    question: str
    ending: str
    yes: str
    no: str
    left_out: str


_WORDS: Final[Mapping[Frame, _Words]] = {
    "en": _Words(
        system="You answer a question about a text with the letter of one option and nothing else.",
        state="Text:\n{state}",
        question="Question: {question}",
        ending="Answer with one letter.",
        yes="yes",
        no="no",
        left_out="[… {count} characters left out …]",
    ),
    "zh": _Words(
        system="你根据给出的文本回答问题，只输出一个选项的字母。",
        state="文本：\n{state}",
        question="问题：{question}",
        ending="只回答一个字母。",
        yes="是",
        no="否",
        left_out="[…… 此处省略 {count} 个字符 ……]",
    ),
}


def frame_of(state: str) -> Frame:
    """The language of the words around a state."""
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in state)
    return "zh" if state and chinese / len(state) >= ZH_SHARE else "en"


def option_texts(question: Question, frame: Frame) -> list[str]:
    """What is shown of each option, in their order; of a noul yes and no."""
    words = _WORDS[frame]
    options = question.options
    if question.kind == "noul":
        shown = [Option(value=word) for word in (words.yes, words.no)]
        meanings = [option.description for option in options] or [None, None]
        options = [Option(value=option.value, description=meaning) for option, meaning in zip(shown, meanings, strict=True)]
    return [_shown(option) for option in options]


def messages_for(state: str, question: Question, options: Sequence[str], frame: Frame) -> list[ChatMessage]:
    """The prompt for at most ``len(LETTERS)`` options."""
    words = _WORDS[frame]
    lettered = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    asked = "\n".join([words.question.format(question=question.instructions), *lettered])
    content = "\n\n".join([words.state.format(state=state), asked, words.ending])
    return [ChatMessage(role="system", content=words.system), ChatMessage(role="user", content=content)]


def frame_tokens(question: Question, frame: Frame) -> int:
    """Tokens of the prompt without the state, at most; of many options the longest that can stand in one prompt count."""
    longest = sorted(option_texts(question, frame), key=estimate_tokens)[-len(LETTERS) :]
    return sum(estimate_tokens(message.content) + MESSAGE_TOKENS for message in messages_for("", question, longest, frame))


def cut_state(state: str, tokens: int, frame: Frame) -> tuple[str, int]:
    """The state within ``tokens``, its head and its tail around a word on what is missing; and how many characters are."""
    if estimate_tokens(state) <= tokens:
        return state, 0
    note = _WORDS[frame].left_out
    kept = max(0, min(len(state) - 1, int(len(state) * tokens / estimate_tokens(state))))
    while kept and estimate_tokens(_ends(state, kept, note)) > tokens:
        kept = int(kept * 0.95)  # the note takes some, and the kept ends may hold more tokens per character than the whole
    return _ends(state, kept, note), len(state) - kept


def _ends(state: str, kept: int, note: str) -> str:
    head = int(kept * HEAD_SHARE)
    return f"{state[:head]}\n{note.format(count=len(state) - kept)}\n{state[len(state) - (kept - head) :]}"


def _shown(option: Option) -> str:
    value = option.value if isinstance(option.value, str) else str(option.value).lower()
    return value if option.description is None else f"{value}: {option.description}"
