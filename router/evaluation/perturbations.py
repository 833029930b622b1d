"""Changes that leave what is asked the same: a router should not change its mind over them. Deterministic from the text and a seed.

Covered: typing errors, case, politeness, punctuation, white space, full-width letters, traditional characters, framing sentences. Not covered: true
paraphrase, which needs a model, and translation.
"""

import random
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from tandem.schemas.routing import Language

Change: TypeAlias = Callable[[str, Language, random.Random], str]

WORDS_PER_TYPO: Final = 10
"""One typing error per so many words (or Chinese characters times two), at least one."""
_NEIGHBOURS: Final = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wqrtyuiopisdfghjkklxzvbnmn", strict=True))
"""A key beside each."""
_CONFUSED: Final = {
    "的": "得",
    "得": "的",
    "在": "再",
    "再": "在",
    "做": "作",
    "作": "做",
    "那": "哪",
    "哪": "那",
    "像": "象",
    "已": "以",
    "需": "须",
}
"""Characters that Chinese typists mix up, sounding alike."""
_TRADITIONAL: Final = str.maketrans(
    "们这个来时说为学会过对后还没发么样么当问题从动两关点进开实现经体机应些电业种应让给该计划设计写数据报请帮我国际"
    "东车书见长门马鸟鱼语话谢议论证级纪线组织结果统计较边达运连远选处复杂历史经济环节场报务办单买卖头",
    "們這個來時說為學會過對後還沒發麼樣麼當問題從動兩關點進開實現經體機應些電業種應讓給該計劃設計寫數據報請幫我國際"
    "東車書見長門馬鳥魚語話謝議論證級紀線組織結果統計較邊達運連遠選處複雜歷史經濟環節場報務辦單買賣頭",
)
"""Frequent characters only; a text need not be converted whole to be read as traditional."""
_FULL_WIDTH: Final = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)} | {" ": "\u3000"})
_WORD: Final = re.compile(r"[A-Za-z]{4,}")
_END: Final = re.compile(r"[\s.!?。！？]+$")
_POLITE: Final = {
    "en": (
        ("Please ", ""),
        ("Hi! ", " Thanks in advance."),
        ("Could you help me with this? ", ""),
        ("", " Thank you very much!"),
        ("hello, ", " please"),
    ),
    "zh": (("请", ""), ("你好，", "，谢谢！"), ("麻烦你帮我看一下：", ""), ("", "，非常感谢！"), ("您好！", "拜托了")),
}
_FRAMES: Final = {
    "en": (
        ("Here is my question: ", ""),
        ("I have the following request. ", ""),
        ("So, ", ""),
        ("Next one: ", ""),
        ("", " That is what I would like to know."),
    ),
    "zh": (("我的问题是：", ""), ("想请教一下，", ""), ("那么，", ""), ("下一个问题：", ""), ("", "这就是我想知道的。")),
}


def typos(text: str, language: Language, randomness: random.Random) -> str:
    """Swapped, lost, doubled and neighbouring keys; in Chinese also characters that sound alike."""
    return _zh_typos(text, randomness) if language == "zh" else _en_typos(text, randomness)


def case(text: str, _language: Language, randomness: random.Random) -> str:
    """All lower, all upper, or every word with a capital."""
    return randomness.choice((str.lower, str.upper, str.title))(text)


def politeness(text: str, language: Language, randomness: random.Random) -> str:
    """Greetings, please, thanks."""
    return _wrapped(text, _POLITE, language, randomness)


def framing(text: str, language: Language, randomness: random.Random) -> str:
    """A sentence around the ask that adds nothing."""
    return _wrapped(text, _FRAMES, language, randomness)


def punctuation(text: str, language: Language, randomness: random.Random) -> str:
    """No mark at the end, several, or no comma anywhere."""
    bare = _END.sub("", text)
    marks = ("！！", "。。。", "？") if language == "zh" else ("!!", "...", "?")
    choice = randomness.randrange(3)
    if choice == 0:
        return bare
    return bare + randomness.choice(marks) if choice == 1 else re.sub(r"[,，、;；]", " ", text)


def white_space(text: str, _language: Language, randomness: random.Random) -> str:
    """Blank lines around, doubled spaces, tabs."""
    choice = randomness.randrange(3)
    if choice == 0:
        return f"\n\n  {text} \n\n"
    return text.replace(" ", "  ") + "  " if choice == 1 else "\t" + text.replace(" ", "\u00a0") + "\n"


def full_width(text: str, _language: Language, _randomness: random.Random) -> str:
    """Letters, digits and marks as wide as a Chinese character."""
    return text.translate(_FULL_WIDTH)


def traditional(text: str, language: Language, _randomness: random.Random) -> str:
    """Frequent characters in their traditional form."""
    return text.translate(_TRADITIONAL) if language == "zh" else text


CHANGES: Final[Mapping[str, Change]] = {
    "typos": typos,
    "case": case,
    "politeness": politeness,
    "punctuation": punctuation,
    "white space": white_space,
    "full width": full_width,
    "traditional": traditional,
    "framing": framing,
}


def _wrapped(text: str, templates: Mapping[str, tuple[tuple[str, str], ...]], language: Language, randomness: random.Random) -> str:
    before, after = randomness.choice(templates["zh" if language == "zh" else "en"])
    return f"{before}{text}{after}"


def _en_typos(text: str, randomness: random.Random) -> str:
    words = list(_WORD.finditer(text))
    chosen = sorted(randomness.sample(words, min(len(words), max(1, len(text.split()) // WORDS_PER_TYPO))), key=lambda word: -word.start())
    for word in chosen:  # from the end, so that places stay right
        at = randomness.randrange(word.start() + 1, word.end() - 1)
        text = _mistyped(text, at, randomness)
    return text


def _mistyped(text: str, at: int, randomness: random.Random) -> str:
    """One wrong key at a place that has a neighbour on either side."""
    match randomness.randrange(4):
        case 0:
            return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case 2:
            return text[:at] + text[at] + text[at:]
        case _:
            return text[:at] + _NEIGHBOURS.get(text[at].lower(), "e") + text[at + 1 :]


def _zh_typos(text: str, randomness: random.Random) -> str:
    for _ in range(max(1, len(text) // (2 * WORDS_PER_TYPO))):
        confusable = [place for place, character in enumerate(text) if character in _CONFUSED]
        if confusable and randomness.random() < 0.5:
            at = randomness.choice(confusable)
            text = text[:at] + _CONFUSED[text[at]] + text[at + 1 :]
        elif len(text) > 3:
            text = _mistyped_zh(text, randomness.randrange(1, len(text) - 1), randomness)
    return text


def _mistyped_zh(text: str, at: int, randomness: random.Random) -> str:
    if randomness.random() < 0.5:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at] + text[at:]
