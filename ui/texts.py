"""The pages' own words: one catalogue per language, looked up by key. Knows no widget."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of one language; a key that it lacks is answered in English."""

    language: Language
    words: Mapping[str, str]
    fallback: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The words for ``key`` with ``{name}`` filled in. Raises ``KeyError`` for a key that no catalogue has."""
        text = self.words.get(key) or self.fallback[key]
        return text.format(**values) if values else text

    def starting_with(self, prefix: str) -> dict[str, str]:
        """All words below ``prefix``, keyed by what follows it."""
        keys = [key for key in self.fallback if key.startswith(prefix)]
        return {key.removeprefix(prefix): self(key) for key in keys}


def load_texts(language: Language) -> Texts:
    """Read the catalogue from ``locales/``."""
    return Texts(language, read_catalogue(language), read_catalogue("en"))


def read_catalogue(language: Language) -> dict[str, str]:
    """One language's words by key."""
    path = Path(__file__).parent / "locales" / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def choose_language(asked: str | None, locale: str | None) -> Language:
    """What the URL asks for, else what the browser prefers, else English."""
    for wish in (asked, locale):
        if wish and wish.lower().startswith("zh"):
            return "zh"
        if wish and wish.lower().startswith("en"):
            return "en"
    return "en"
