"""What a tool said, made fit for a prompt, and what a job says, made fit for a page: invisible characters out, a fence around, strange links defused.

Covered: terminal sequences, control, bidirectional, zero-width and tag characters, variation selectors that hide bytes, lone surrogates; a text that
imitates the fence (its mark is random and is taken out of the text); Markdown images and links, reference definitions, bare addresses and HTML tags
that would make a reader's browser talk to a host that the job did not know.
Not covered: what the words themselves say, which only the authority's rules keep harmless; look-alike letters; bare addresses within code; whatever a
reader copies by hand.
"""

import re
from collections.abc import Callable
from typing import Final

from pydantic import JsonValue

from tools.addresses import addresses_in

IsKnown = Callable[[str], bool]
"""Whether an address may be shown as a link."""

_TERMINAL: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[@-Z\\-_])")
_BREAKS: Final = re.compile(r"\r\n?|[\x85\u2028\u2029\x0b\x0c]")
_UNSEEN: Final = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # joiners and fillers that show nothing
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero-width, directions, annotations
    "\ufe00-\ufe0e\U000e0000-\U000e0fff"  # tags and variation selectors, which carry hidden bytes
    "\U0001d173-\U0001d17a"  # musical format
    "]"
)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_FENCE_LINE: Final = re.compile(r" {0,3}(?:(`{3,})([^`]*)|(~{3,})(.*))$")
_IMAGE: Final = re.compile(r"!\[")
_TARGET: Final = re.compile(r"\]\(\s*<?([^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?[^)\n]*\)?")
_DEFINITION: Final = re.compile(r"^(\s{0,3}\[[^\]\n]*\]):\s*(\S.*)$")
_REFERENCE: Final = re.compile(r"\]\[[^\]\n]*\]")
_TAG: Final = re.compile(r"<(/?[a-zA-Z!?][^>\n]*)(>|$)")
_AUTOLINK: Final = re.compile(r"<(https?://[^>\s]*)>", re.IGNORECASE)
_TARGET_IN_CODE: Final = re.compile(r"\]\((?=\s*<?(?:[a-z][a-z0-9+.-]*:|//))", re.IGNORECASE)
_CODE_SPAN: Final = re.compile(r"(`+)(?!`)(?:.*?[^`])\1(?!`)")


def cleaned(text: str) -> str:
    """A text without what nobody sees; every kind of line break becomes the plain one."""
    text = _BREAKS.sub("\n", _TERMINAL.sub("", text))
    return _SURROGATES.sub("\ufffd", _UNSEEN.sub("", text))


def cleaned_json(value: JsonValue) -> JsonValue:
    """The same for every text in a value, names included."""
    match value:
        case str():
            return cleaned(value)
        case list():
            return [cleaned_json(item) for item in value]
        case dict():
            return {cleaned(name): cleaned_json(item) for name, item in value.items()}
        case _:
            return value


def fenced(text: str, source: str, mark: str) -> str:
    """A tool's answer between two lines that only this job knows; ``mark`` is random, and the text cannot hold it."""
    inside = text
    while mark in inside:
        inside = inside.replace(mark, "")
    label = re.sub(r'["<>\n]', " ", cleaned(source).replace(mark, ""))[:200]
    return f'<<<DATA {mark} from "{label}">>>\n{inside}\n<<<END {mark}>>>'


def without_strange_links(text: str, is_known: IsKnown) -> str:
    """A Markdown text in which no image, link or tag leads to an address that is not known: what is left of it is words and code."""
    defuser = LinkDefuser(is_known)
    return defuser.add(text) + defuser.rest()


class LinkDefuser:
    """The same for a text that comes in pieces: whole lines are given out, the last one waits for its end."""

    def __init__(self, is_known: IsKnown) -> None:
        self._is_known = is_known
        self._waiting = ""
        self._fence = ""

    def add(self, piece: str) -> str:
        """What may be shown now."""
        *lines, self._waiting = (self._waiting + piece).split("\n")
        return "".join(f"{self._line(line)}\n" for line in lines)

    def rest(self) -> str:
        """What was waiting."""
        line, self._waiting = self._waiting, ""
        return self._line(line) if line else ""

    def _line(self, line: str) -> str:
        if found := _FENCE_LINE.fullmatch(line):
            fence, words = (found[1], found[2]) if found[1] else (found[3], found[4])
            if not self._fence:
                self._fence = fence
            elif fence.startswith(self._fence) and not words.strip():
                self._fence = ""
            return _in_code(line)
        return _in_code(line) if self._fence else self._outside_code(line)

    def _outside_code(self, line: str) -> str:
        if (found := _DEFINITION.match(line)) and not self._is_known(found[2].split()[0].strip("<>")):
            return f"{found[1]} `{_coded(found[2])}`"
        parts: list[str] = []
        at = 0
        for span in _CODE_SPAN.finditer(line):
            parts += [self._prose(line[at : span.start()]), _in_code(span[0])]
            at = span.end()
        return "".join([*parts, self._prose(line[at:])])

    def _prose(self, text: str) -> str:
        # A backquote without its partner would pair with one of ours, and what we put into code would be out of it.
        text = text.replace("`", "'")
        text = _AUTOLINK.sub(lambda found: found[0] if self._is_known(found[1]) else f"`{_coded(found[1])}`", text)
        text = _TARGET.sub(self._target, text)
        text = _TAG.sub(self._tag, text)
        text = _REFERENCE.sub("]", text)
        return self._bare(_IMAGE.sub(self._image, text))

    def _target(self, found: re.Match[str]) -> str:
        address = found[1]
        if self._is_known(address) or address.startswith("#"):
            return found[0]
        return f"] (`{_coded(address)}`)" if address else "]"

    def _image(self, found: re.Match[str]) -> str:
        """An image is loaded without anybody's click, so only one with a known target stays."""
        rest = found.string[found.end() :]
        target = _TARGET.search(rest)
        closing = rest.find("]")
        is_whole = target is not None and closing == target.start() and self._is_known(target[1])
        return found[0] if is_whole else "["

    def _tag(self, found: re.Match[str]) -> str:
        if self._is_known(found[1]):
            return found[0]
        return f"`< {_coded(found[1])}{found[2]}`"  # the space: a tag in no place

    def _bare(self, text: str) -> str:
        """Addresses without markup, which pages turn into links; those within code or within a known target stay."""
        strange = {url for url in addresses_in(_CODE_SPAN.sub(" ", text)) if not self._is_known(url)}
        for url in sorted(strange, key=len, reverse=True):
            text = re.sub(rf"(?<![`\w]){re.escape(url)}(?![^\s`]*`)", lambda found: f"`{_coded(found[0])}`", text)
        return text


def _in_code(text: str) -> str:
    """Code as it may be shown: a reader's page may see the end of a block elsewhere, so no image and no link is whole in it."""
    return _TARGET_IN_CODE.sub("] (", _IMAGE.sub("! [", text))


def _coded(text: str) -> str:
    """A text that can stand between backquotes."""
    return text.replace("`", "'").strip()
