"""The script that Streamlit runs for every session and interaction: language, navigation, and the way to the gateway. Each run ends in milliseconds.

Composition root of the pages: settings and client are made here and passed down.
"""

from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st

from tandem.client import TandemClient
from tandem.settings import Settings
from ui.state import chosen_language, gateway_key
from ui.texts import Language, Texts, choose_language, load_texts
from ui.views.chat import show_chat
from ui.views.failures import explained
from ui.views.jobs import show_jobs

_HERE: Final = Path(__file__).parent


@st.cache_resource
def _settings() -> Settings:
    return Settings.load()


@st.cache_resource(max_entries=4)
def _client(url: str, api_key: str | None) -> TandemClient:
    return TandemClient(url, api_key)


@st.cache_resource
def _texts(language: Language) -> Texts:
    return load_texts(language)


def run() -> None:
    """One run of the script."""
    st.set_page_config(page_title="Tandem", page_icon=str(_HERE / "icon.svg"), layout="centered")
    st.logo(str(_HERE / "logo.svg"), icon_image=str(_HERE / "icon.svg"), size="large")
    st.html(_HERE / "style.css")
    settings = _settings()
    texts = _texts(choose_language(chosen_language(), st.context.locale))
    gateway = _client(settings.gateway_url, gateway_key(settings))
    jobs = st.Page(
        explained(texts, lambda: show_jobs(gateway, settings.gateway_url, texts)),
        title=texts("nav.jobs"),
        icon=":material/checklist:",
        url_path="jobs",
    )
    chat = st.Page(
        explained(texts, partial(show_chat, gateway, jobs, texts)), title=texts("nav.chat"), icon=":material/chat:", url_path="chat", default=True
    )
    st.navigation([chat, jobs], position="top").run()


run()
