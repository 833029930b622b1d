"""Copies of training rows as people type them: slips of the finger, polite words around, other punctuation and spaces.

Separate from the perturbations that robustness is judged by (``router/evaluation/perturbations.py``): lists and odds are its own.
"""

import random
import string
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from router.training.rows import Row, copy_of

Perturbation: TypeAlias = Callable[[str, bool, random.Random], str]

SHARE: Final = 0.4
"""Of the rows with a lane that get a copy."""
MOST_CHARS: Final = 1_500
"""Longer prompts are mostly material, in which a slip changes nothing."""
SLIPS_PER_CHAR: Final = 1 / 40

_POLITE: Final = {
    False: (
        ("please ", ""),
        ("Pls ", ""),
        ("Hi, ", ""),
        ("Hello! ", ""),
        ("Hey there, ", " thx"),
        ("can you ", "?"),
        ("Could you please ", "?"),
        ("I'd like you to ", ""),
        ("", " Thanks!"),
        ("", " please"),
        ("Good morning. ", " Many thanks."),
        ("I was wondering: ", ""),
        ("Quick one: ", ""),
        ("ok so ", ""),
        ("", " Appreciate your help."),
    ),
    True: (
        ("请问", ""),
        ("麻烦", ""),
        ("你好！", ""),
        ("您好，请", ""),
        ("能不能", "？"),
        ("可以帮我", "吗？"),
        ("帮我", "，多谢"),
        ("", "，谢谢"),
        ("", "，辛苦了"),
        ("请教一下，", ""),
        ("嗨，", ""),
        ("我想问问，", ""),
        ("劳驾，", "，感谢"),
    ),
}


def perturbed_copies(rows: Sequence[Row], randomness: random.Random) -> list[Row]:
    """For ``SHARE`` of the rows with a lane one copy each, in another wording of the same ask."""
    copies: list[Row] = []
    for row in rows:
        if row.label is not None and len(row.text) <= MOST_CHARS and randomness.random() < SHARE:
            text = perturbed(row.text, randomness, is_chinese=row.language == "zh")
            if text.strip() and text != row.text:
                copies.append(copy_of(row, text))
    return copies


def perturbed(text: str, randomness: random.Random, *, is_chinese: bool) -> str:
    """One or two of the perturbations."""
    for change in randomness.sample(_PERTURBATIONS, k=randomness.choice((1, 1, 2))):
        text = change(text, is_chinese, randomness)
    return text


def _polite(text: str, is_chinese: bool, randomness: random.Random) -> str:
    before, after = randomness.choice(_POLITE[is_chinese])
    if after[:1] in {"?", "？", "，"}:
        text = text.rstrip(" .!?。！？")
    return before + text + after


def _slips(text: str, is_chinese: bool, randomness: random.Random) -> str:
    """Characters lost, doubled, swapped with the next or, in Latin script, replaced."""
    characters = list(text)
    for _ in range(max(1, round(len(text) * SLIPS_PER_CHAR))):
        if len(characters) < 4:
            break
        place = randomness.randrange(len(characters) - 1)
        kind = randomness.randrange(3 if is_chinese else 4)
        if characters[place].isdigit():
            continue
        if kind == 0:
            del characters[place]
        elif kind == 1:
            characters[place : place + 1] = [characters[place]] * 2
        elif kind == 2:
            characters[place], characters[place + 1] = characters[place + 1], characters[place]
        else:
            characters[place] = randomness.choice(string.ascii_lowercase)
    return "".join(characters)


def _punctuation(text: str, is_chinese: bool, randomness: random.Random) -> str:
    """Without the end mark, with another one, or without any punctuation."""
    bare = text.rstrip(" .!?。！？")
    kind = randomness.randrange(3)
    if kind == 0:
        return bare
    if kind == 1:
        return bare + randomness.choice("。？！" if is_chinese else ".?!")
    marks = "，。！？、；" if is_chinese else ",.!?;'"
    return "".join(character for character in text if character not in marks) if len(text) < 200 else bare


def _spaces(text: str, _is_chinese: bool, randomness: random.Random) -> str:
    """Spaces doubled or lost around: letters are folded to lower case before anything is read, so their case needs no copies."""
    return randomness.choice((text.replace(" ", "  "), f"\n{text}\n", text.replace("\n", " ")))


_PERTURBATIONS: Final[tuple[Perturbation, ...]] = (_polite, _polite, _slips, _slips, _punctuation, _spaces)
