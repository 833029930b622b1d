"""The one live component: text of answers in flight and cards of running jobs, fed by the thread's event stream.

It gets no key and draws text only as text. Its script and style are files of this folder; no text of a person or a model ever enters them.
"""

from functools import cache
from pathlib import Path

from streamlit.components.v2 import component
from streamlit.components.v2.types import ComponentRenderer

from tandem.schemas.base import JsonObject


def show_live(thread_id: str, data: JsonObject) -> None:
    """Mount the component; it makes the script run again when something is there to be drawn natively."""
    _component()(key=f"live-{thread_id}", data=data, on_news_change=_rerun)


def _rerun() -> None:
    """A trigger reruns the script by itself; a callback must exist for its name to be known."""


@cache
def _component() -> ComponentRenderer:
    """Registered once per process: a second registration would make every mount a different component."""
    return component("tandem_live", html='<div id="live"></div>', css=_read("live.css"), js=_read("live.js"))


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
