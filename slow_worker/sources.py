"""The sources of a job by number, and a final text that cites them: its numbers in the order of their first use, and no link to a strange host."""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from tandem.schemas.tools import Citation
from tools.authority import Authority
from tools.hygiene import LinkDefuser

MOST_SOURCES: Final = 99
_NUMBER: Final = re.compile(r"\s?(?:\[(\d{1,3}(?:\s*[,，、]\s*\d{1,3})*)\]|【(\d{1,3})】)(?!\()")


class Shape(Protocol):
    """Makes a text fit to be shown while it comes in pieces."""

    def add(self, piece: str) -> str:
        """What may be shown now."""
        ...

    def rest(self) -> str:
        """What was waiting."""
        ...


class Sources:
    """Gathers what tools read, each passage once."""

    def __init__(self, known: Sequence[Citation]) -> None:
        self.all = list(known)

    def add(self, citations: Sequence[Citation]) -> list[int]:
        """Their numbers, from 1; beyond ``MOST_SOURCES`` no more are taken."""
        numbers: list[int] = []
        for citation in citations:
            place = next((at for at, known in enumerate(self.all) if _is_same(known, citation)), None)
            if place is None and len(self.all) < MOST_SOURCES:
                self.all.append(citation)
                place = len(self.all) - 1
            if place is not None:
                numbers.append(place + 1)
        return list(dict.fromkeys(numbers))


class Plain:
    """Shows a text as it comes."""

    def add(self, piece: str) -> str:
        return piece

    def rest(self) -> str:
        return ""


class CitedText:
    """Renumbers what is cited, drops numbers that no source has, and defuses links where the job has read words of strangers. Line by line."""

    def __init__(self, sources: Sequence[Citation], authority: Authority) -> None:
        self._count = len(sources)
        self._defuser = LinkDefuser(authority.knows) if authority.is_tainted else None
        self._waiting = ""
        self.cited: list[int] = []
        """Numbers of the sources in the order of their first use."""
        self.invented = 0
        """Numbers that no source has."""

    def add(self, piece: str) -> str:
        *lines, self._waiting = (self._waiting + piece).split("\n")
        return "".join(self._line(f"{line}\n") for line in lines)

    def rest(self) -> str:
        line, self._waiting = self._waiting, ""
        shown = self._line(line)
        return shown + self._defuser.rest() if self._defuser else shown

    def _line(self, line: str) -> str:
        line = _NUMBER.sub(self._renumbered, line) if self._count else line
        return self._defuser.add(line) if self._defuser else line

    def _renumbered(self, found: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", found[1] or found[2])]
        good = [number for number in numbers if 1 <= number <= self._count]
        self.invented += len(numbers) - len(good)
        self.cited += [number for number in good if number not in self.cited]
        places = [f"[{self.cited.index(number) + 1}]" for number in good]
        space = found[0][0] if found[0][0].isspace() else ""
        return space + "".join(places) if places else ""


def _is_same(one: Citation, other: Citation) -> bool:
    return (one.source, one.start, one.end, one.page, one.quote) == (other.source, other.start, other.end, other.page, other.quote)
