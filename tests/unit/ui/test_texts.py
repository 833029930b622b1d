"""The catalogues agree with each other and with the code."""

import re
from pathlib import Path

import pytest

import ui
from ui.texts import choose_language, load_texts, read_catalogue

SOURCES = list(Path(ui.__path__[0]).rglob("*.py"))


def test_both_languages_have_the_same_keys() -> None:
    assert read_catalogue("en").keys() == read_catalogue("zh").keys()


@pytest.mark.parametrize("key", sorted(read_catalogue("en")))
def test_both_languages_fill_the_same_places(key: str) -> None:
    places = [sorted(re.findall(r"{\w+}", read_catalogue(language)[key])) for language in ("en", "zh")]
    assert places[0] == places[1]


def test_every_key_in_the_code_exists() -> None:
    asked = {key for path in SOURCES for key in re.findall(r'texts\("([\w.]+)"', path.read_text(encoding="utf-8"))}
    assert asked
    assert asked <= read_catalogue("en").keys()


def test_every_word_of_the_live_component_exists() -> None:
    script = (Path(ui.__path__[0]) / "live" / "live.js").read_text(encoding="utf-8")
    asked = set(re.findall(r"words\.(\w+)", script)) - {"fast", "slow"}
    assert asked
    assert asked <= {key.removeprefix("live.") for key in read_catalogue("en") if key.startswith("live.")}


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        load_texts("zh")("no.such.key")


@pytest.mark.parametrize(
    ("asked", "locale", "language"), [(None, "zh-CN", "zh"), ("en", "zh-CN", "en"), ("zh", "en-US", "zh"), (None, None, "en"), ("xx", "de", "en")]
)
def test_the_url_wins_over_the_browser(asked: str | None, locale: str | None, language: str) -> None:
    assert choose_language(asked, locale) == language
