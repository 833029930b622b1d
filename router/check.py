"""Whether a fast answer of the check band is good enough: pure, from the words, how they ended, and the server's log-probabilities.

The tokens' probabilities tell how sure the model was; the words tell of refusals, doubts, loops and answers that were cut or are far too short; a
second draft, where the rules want one, tells whether the model would say the same again. Knows nothing of models, HTTP or jobs.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tandem.answers import last_number
from tandem.schemas.chat import FinishReason, TokenChance
from tandem.schemas.policies import CheckRules
from tandem.schemas.routing import Language

CheckReason = Literal["empty", "cut", "loop", "too_short", "refusal", "unsure", "low_confidence", "drafts_differ"]
"""Why an answer failed. ``cut``: it ended at the limit of its length."""
TOP_LOGPROBS: Final = 2
"""Alternatives asked of the server per token: the likeliest two are what a margin needs."""
LEAST_SHARE: Final = 0.2
"""The least sure part of an answer: this share of its tokens."""
MIN_OVERLAP: Final = 0.3
"""Two short drafts that share less of the shorter one's telling words say different things."""
COMPARED_CHARS: Final = 300
"""Longer drafts are compared by their numbers and choices only: prose that is written twice differs anyway."""
_QUESTION_CHARS: Final = 1_000
_ANSWER_CHARS: Final = 4_000
"""Read of either end: the ask stands there, and a judgement must not hold up other callers."""
_HEAD_CHARS: Final = 300
"""A refusal stands at the beginning."""
_TAIL_CHARS: Final = 800
"""A model that loops does so until it is cut."""
_SHORT_OF_WISH: Final = 0.3
"""Less than this part of a length that was asked for is far too short."""
_BRIEF_CHARS: Final[dict[Language, int]] = {"en": 240, "zh": 80, "other": 160}
"""Least characters of an answer to a brief: a report, a plan, an essay."""

_REFUSALS: Final = re.compile(
    r"\bI(?:['’]m| am) (?:sorry|afraid),? (?:but )?(?:I |that I )?(?:can(?:['’]t|not)|am unable|am not able|don['’]t have)"
    r"|\bI (?:can(?:['’]t|not)|am unable to|['’]m unable to|am not able to|won['’]t be able to) "
    r"(?:help|assist|answer|do that|do this|provide|fulfil|complete|access|browse|comply)"
    r"|\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|(?:很?抱歉|对不起|不好意思)[，,。 ]*(?:但)?(?:我|作为)?.{0,12}(?:不能|无法|没法|没有办法|不可以)"
    r"|我(?:无法|不能|没法)(?:回答|提供|帮助|完成|访问|协助|满足|处理)|作为一?(?:个|名)?(?:AI|人工智能|语言模型)",
    re.IGNORECASE,
)
_DOUBTS: Final = re.compile(
    r"\bI(?:['’]m| am) not (?:entirely |completely |quite |very |really |absolutely |100% )?(?:sure|certain|confident)\b"
    r"|\bI (?:do not|don['’]t) (?:really |actually )?(?:know|have (?:enough|any|that|this|specific|sufficient) (?:information|data|knowledge))\b"
    r"|\b(?:it is|it['’]s) (?:unclear|not clear|hard to say|difficult to say)\b|\bI (?:may|might|could) be (?:wrong|mistaken)\b"
    r"|我(?:也)?(?:不太|不|并不|无法)(?:确定|知道|清楚|了解|肯定)|不太?确定|不太清楚|说不准|(?:没有|缺乏)(?:足够|相关|具体)的?(?:信息|资料|数据)|可能(?:有误|不准确)",
    re.IGNORECASE,
)
_WISHED_LENGTH: Final = re.compile(r"(\d{2,5})\s*[-‑]?\s*(words?\b|个?字)", re.IGNORECASE)
_UPPER_BOUND: Final = re.compile(
    r"(?:at most|no more than|up to|under|less than|fewer than|within|below|max(?:imum)?(?: of)?|不超过|不多于|少于|最多|以内)", re.IGNORECASE
)
_BRIEFS: Final = re.compile(
    r"\b(?:write|draft|prepare|produce|create|compile|design|develop)\b[^.?!\n]{0,60}"
    r"\b(?:report|essay|article|proposal|business plan|study plan|white ?paper|review|analysis|guide|lesson plan|specification|story)\b"
    r"|\b(?:in[- ]depth|comprehensive|detailed|step[- ]by[- ]step) (?:report|analysis|plan|guide|comparison|review|explanation|proposal)\b"
    r"|(?:写|撰写|起草|制定|设计|准备|做)[^。？！\n]{0,30}(?:报告|文章|论文|方案|计划书?|综述|指南|教程|提案|故事|作文)|(?:详细|全面|深入)(?:地|的)?(?:报告|分析|计划|比较|介绍|方案)",
    re.IGNORECASE,
)
_WANTS_FEW: Final = re.compile(
    r"\b(?:one|a single|two|few|short|brief|briefly|concise|title|headline|slogan|one-liner)\b|一句|一个词|简短|简要|简单|标题|口号", re.IGNORECASE
)
_WANTS_AGAIN: Final = re.compile(r"\b(?:repeat|times|copies|lyrics|refrain|loop)\b|重复|循环|歌词|遍", re.IGNORECASE)
_LOOPS: Final = re.compile(r"(.{6,120}?)\1{3,}|(.{1,5}?)\2{19,}", re.DOTALL)
_ASKS_NUMBER: Final = re.compile(r"\d|how (?:many|much|long|far|old|tall|often)|多少|几", re.IGNORECASE)
_CHOICES: Final = re.compile(r"(?:^|\n)\s*\(?([A-J])[).:：、．]", re.IGNORECASE)
_CHOSEN: Final = re.compile(r"(?<![A-Za-z])\(?([A-J])\)?(?![A-Za-z'’])")
_WORD: Final = re.compile(r"[^\W_]")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+")
_SPACED: Final = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """What the check says of an answer."""

    passed: bool
    confidence: float | None
    """As ``confidence_of``; None where the server told no probabilities."""
    reasons: tuple[CheckReason, ...]
    """Empty when it passed."""


def judge_answer(
    question: str,
    answer: str,
    finish_reason: FinishReason | None,
    chances: Sequence[TokenChance],
    rules: CheckRules,
    language: Language,
    second_draft: str | None = None,
    *,
    is_bounded: bool = False,
) -> CheckVerdict:
    """Judge one answer. ``question`` is the newest human message, ``second_draft`` another answer of the same model to it, if there is one.

    ``is_bounded``: the caller has limited the length, so an answer that ends there is what was asked for.
    """
    is_at_limit = finish_reason == "length"
    is_as_wished = is_bounded and is_at_limit
    confidence = confidence_of(chances)
    question, answer = _ends_of(question, _QUESTION_CHARS), _ends_of(answer, _ANSWER_CHARS)
    signs: tuple[tuple[CheckReason, bool], ...] = (
        ("empty", not _WORD.search(answer)),
        ("cut", is_at_limit and not is_as_wished),
        ("loop", _is_loop(question, answer)),
        ("too_short", not is_as_wished and _is_too_short(question, answer, language)),
        ("refusal", _says(_REFUSALS, answer[:_HEAD_CHARS], question)),
        ("unsure", _says(_DOUBTS, answer, question)),
        ("low_confidence", confidence is not None and confidence < rules.min_confidence),
        ("drafts_differ", rules.second_draft and second_draft is not None and drafts_differ(question, answer, second_draft)),
    )
    reasons: tuple[CheckReason, ...] = tuple(reason for reason, is_so in signs if is_so)
    return CheckVerdict(not reasons, confidence, reasons)


def confidence_of(chances: Sequence[TokenChance]) -> float | None:
    """How sure the model was of its words, 0..1: the mean probability of the tokens, their least sure fifth counted double.

    Tokens without a letter or a digit say nothing of the content and are left out. None when no token is left.
    """
    told = sorted(math.exp(chance.logprob) for chance in chances if _WORD.search(chance.token))
    if not told:
        return None
    least = told[: math.ceil(len(told) * LEAST_SHARE)]
    return (sum(told) + sum(least)) / (len(told) + len(least))


def drafts_differ(question: str, first: str, second: str) -> bool:
    """Whether two answers to one question say different things: another choice, another final number, or hardly a word in common."""
    if len(set(_CHOICES.findall(question.upper()))) > 1:
        chosen = [_CHOSEN.findall(draft) for draft in (first, second)]
        if chosen[0] and chosen[1]:
            return chosen[0][-1].upper() != chosen[1][-1].upper()
    if _ASKS_NUMBER.search(question):
        numbers = last_number(first), last_number(second)
        if any(numbers):
            return numbers[0] != numbers[1]
    if max(len(first), len(second)) > COMPARED_CHARS:
        return False
    asked = _telling_words(question)
    ours, theirs = _telling_words(first) - asked, _telling_words(second) - asked
    return len(ours & theirs) < MIN_OVERLAP * min(len(ours), len(theirs))


def _ends_of(text: str, chars: int) -> str:
    return text if len(text) <= 2 * chars else f"{text[:chars]}\n{text[-chars:]}"


def _telling_words(text: str) -> set[str]:
    """Words of four letters on, numbers, and pairs of characters where words are not spaced."""
    spaced = {word for word in _SPACED.findall(text.casefold()) if len(word) > 3 or word.isdigit()}
    pairs = {run[at : at + 2] for run in _UNSPACED.findall(text) for at in range(max(1, len(run) - 1))}
    return spaced | pairs


def _says(phrase: re.Pattern[str], answer: str, question: str) -> bool:
    """Whether the answer says it by itself: words that the question holds may be quoted or translated."""
    return any(found.group().casefold() not in question.casefold() for found in phrase.finditer(answer))


def _is_loop(question: str, answer: str) -> bool:
    """The same again and again at the end; rules, tables and dots, which hold no words, are no loop."""
    if _WANTS_AGAIN.search(question):
        return False
    found = _LOOPS.search(answer[-_TAIL_CHARS:])
    return found is not None and _WORD.search(found.group()) is not None


def _is_too_short(question: str, answer: str, language: Language) -> bool:
    """Far below the length that was asked for, or a few words to a brief."""
    if wished := _WISHED_LENGTH.search(question):
        if _UPPER_BOUND.search(question):
            return False
        is_words = wished[2].lower().startswith("word")
        length = len(answer.split()) if is_words else len("".join(_WORD.findall(answer)))
        return length < _SHORT_OF_WISH * int(wished[1])
    return bool(_BRIEFS.search(question)) and not _WANTS_FEW.search(question) and len(answer.strip()) < _BRIEF_CHARS[language]
