"""What the conversation around a message tells: a re-ask, displeasure with the last answer, "go on". Pure, bounded by what ``read_text`` keeps.

Knows nothing of weights or lanes.
"""

import re
from collections.abc import Sequence
from math import sqrt
from typing import Final

from router.text import read_text
from tandem.ports import Turns
from tandem.schemas.routing import Signs

COMPARED_TURNS: Final = 2
"""Earlier messages that a re-ask is looked for in."""
LEAST_CHARS: Final = 6
"""A shorter message ("ok", 好的) is no re-ask, though people say it often; a Chinese character counts twice."""
GRAM: Final = 3
NEGATIVE_CHARS: Final = 300
"""Displeasure is voiced at the start of a message."""
CONTINUATION_CHARS: Final = 40

_NEGATIVE: Final = re.compile(
    r"\b(?:that(?:'s| is|s)?(?: just| still)? (?:not (?:right|correct|true|it|what i (?:asked|meant|wanted))|wrong|incorrect|nonsense|useless)"
    r"|(?:this|it|your answer|the answer)(?:'s| is)(?: just| still)? (?:not (?:right|correct|what i (?:asked|meant|wanted))|wrong|incorrect|useless)"
    r"|(?:you(?:'re| are)|u r) (?:wrong|mistaken|not listening)|you (?:got (?:it|that) wrong|made a mistake|missed|forgot|misunderstood)"
    r"|you didn'?t (?:answer|understand|read|get)"
    r"|wrong answer|wrong again|not (?:good|detailed|deep|long) enough|too (?:short|shallow|vague|superficial|brief)"
    r"|(?:doesn'?t|didn'?t|does not|did not) (?:work|help|answer|make sense)|not helpful|unhelpful"
    r"|i (?:don'?t|do not) (?:think|believe) (?:that'?s|so|it'?s)"
    r"|try (?:it )?again|do (?:it|that) again|do better|redo (?:it|that|this)|still (?:wrong|broken|failing|not (?:right|working))|are you sure)\b"
    r"|^(?:no+|nope|wrong|incorrect)\b(?![- ](?:problem|worries|thanks?|need|more|idea|one|matter|doubt|way to))"
    r"|不对|不是这样|不是这个意思|错了|答错|搞错|弄错|不正确|有误|答非所问|没(?:有)?回答|没(?:有)?看懂|没(?:有)?理解"
    r"|不是我(?:想)?(?:要|问)的|太(?:简单|短|浅|笼统|敷衍|简略)了?"
    r"|不够(?:详细|深入|具体|好|准确)|没用|没(?:有)?帮助|不管用|不行"
    r"|重新(?:回答|做|来|写|想|算|试)|再(?:试|想|算|做|答)一(?:次|遍|下)|你确定|还是(?:错|不对|不行)",
)
_CONTINUATION: Final = re.compile(
    r"(?:(?:please|pls|ok(?:ay)?|yes|yeah|sure|great|good|and|now|just|then)[,.!\s]+){0,3}"
    r"(?:continue|go on|go ahead|keep going|carry on|proceed|next|more|and then|what(?:'s| is)? next|finish it|go for it|tell me more|resume)"
    r"(?:[,.!\s]+(?:please|pls|then|with (?:it|that|this)|from there|from where you (?:left|stopped)(?: off)?|with the next (?:one|step|part)))?"
    r"[\s.!?…]*"
    r"|(?:请|好的?|嗯|行|可以|那就?|麻烦|你)?[,，。\s]*(?:继续|接着|往下|然后|还有|下一步|下一个|下一条)"
    r"(?:吧|说|讲|写|做|来|下去|呢|啊|往下说|说下去|写下去|完成)?[\s。.!！?？…]*"
)


def signs_of(turns: Turns) -> Signs:
    """The signs of the newest message among the human messages before it."""
    if not turns.history and not turns.has_running_job:
        return Signs(previous_lane=turns.previous_lane)
    ask = _plain(turns.text)
    return Signs(
        turns=len(turns.history),
        reask=_reask(ask, turns.history[-COMPARED_TURNS:]),
        is_negative=bool(turns.history) and _NEGATIVE.search(ask[:NEGATIVE_CHARS]) is not None,
        is_continuation=_is_continuation(ask),
        has_running_job=turns.has_running_job,
        previous_lane=turns.previous_lane,
    )


def _plain(message: str) -> str:
    """The ask, normalised, with single spaces and plain apostrophes."""
    return read_text(message).compact.strip().replace("’", "'")


def _is_continuation(ask: str) -> bool:
    return len(ask) <= CONTINUATION_CHARS and _CONTINUATION.fullmatch(ask) is not None


def _reask(ask: str, earlier: Sequence[str]) -> float:
    """Cosine of the sets of character n-grams with the likeliest earlier message, 0..1."""
    grams = _grams(ask)
    if not earlier or _weight(ask) < LEAST_CHARS:
        return 0.0
    return round(max(_cosine(grams, _grams(_plain(message))) for message in earlier), 4)


def _grams(text: str) -> frozenset[str]:
    return frozenset(text[start : start + GRAM] for start in range(max(len(text) - GRAM + 1, 1)))


def _cosine(one: frozenset[str], other: frozenset[str]) -> float:
    return min(len(one & other) / sqrt(len(one) * len(other)), 1.0)


def _weight(text: str) -> int:
    return len(text) + sum(1 for character in text[:LEAST_CHARS] if character >= "\u3400")
