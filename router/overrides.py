"""Words with which a user chooses the lane: ``/deep`` and ``/fast`` in front, "think hard", 认真想想 and their kin anywhere in the ask.

Quoted words, code and negated phrases do not count. Knows nothing of scores.
"""

import re
from typing import Final

from router.text import Text
from tandem.schemas.routing import Lane

_COMMAND: Final = re.compile(r"\s*[/／](deep|fast)(?=\s|$)\s?", re.IGNORECASE)
_QUOTED: Final = re.compile(
    r"```.*?(?:```|$)|`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|『[^』\n]*』|《[^》\n]*》|^>.*$", re.DOTALL | re.MULTILINE
)
_NEGATED: Final = re.compile(
    r"(?:\bdon'?t|\bdo not|\bno need to|\bneedn'?t|\bwithout|\bnever|\bwhen (?:i|you|we)|\bif (?:i|you|we)|\bmakes? me|\b(?:i|we|they|he|she))"
    r"(?:\s+\w+){0,2}\s*$|(?:不用|不必|别|不要|无需|没有|没)[^，。！？\s]{0,3}$"
)
_THINK: Final = re.compile(
    r"\bthink (?:really |very |extra |more |much |a (?:bit|little) |long and |about (?:it|this|that) )?"
    r"(?:hard|harder|deeply|deeper|carefully|longer(?![- ]term)|(?:it|this|that) (?:through|over)|step[- ]by[- ]step)\b"
    r"|\bultrathink\b|\bthink (?:through )?(?:it|this)(?: through)? (?:carefully|thoroughly|hard|deeply|step[- ]by[- ]step)\b"
    r"|\btake your time(?: to think| and think)\b|\breason (?:step[- ]by[- ]step|carefully|deeply)\b"
    r"|\buse (?:the )?(?:deep|slow) (?:lane|mode|thinking)\b"
    r"|(?:[认認]真|仔[细細]|好好|深入|慎重|深度|慢慢|[认認][认認]真真|仔仔[细細][细細]|多)(?:地|的|再)?"
    r"(?:想想|想一想|想一下|思考|想清楚|推理|琢磨|考[虑慮]一下|思考一下)|[认認]真想(?=\W|$)|请(?:你|您)?再?(?:[认認]真|仔[细細])考[虑慮]"
    r"|深思熟[虑慮](?=之?后|後|再|一下|\W|$)|一步一步(?:地|来)?(?:想|思考|推理)|慢慢想"
)

_HINTS: Final = ("think", "reason", "take your time", "deep", "slow", "想", "思", "推理", "琢磨", "考虑", "考慮")
"""Some of these stands in every match of ``_THINK``: most messages are done after a few plain searches."""


def lane_in_words(text: Text) -> Lane | None:
    """The lane a message itself asks for; a leading command beats a phrase."""
    command = _COMMAND.match(text.view)
    if command is not None:
        return "slow" if command.group(1) == "deep" else "fast"
    return "slow" if _asks_to_think(text.view) else None


def strip_command(message: str) -> str:
    """The message without a leading ``/deep`` or ``/fast``, for the model's eyes; a bare command stays as it is."""
    command = _COMMAND.match(message)
    rest = message[command.end() :] if command is not None else message
    return rest if rest.strip() else message


def _asks_to_think(view: str) -> bool:
    if not any(hint in view for hint in _HINTS):
        return False
    ask = _QUOTED.sub(" ", view.replace("’", "'"))
    return any(_NEGATED.search(ask, max(0, found.start() - 40), found.start()) is None for found in _THINK.finditer(ask))
