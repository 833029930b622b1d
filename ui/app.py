"""The Streamlit application: one script, and the same-origin routes its live component talks to. Knows nothing of pages."""

from pathlib import Path

import streamlit as st

from tandem.settings import Settings
from ui.proxy import Relay

PURPLE = "#6d5ef5"


def create_app(settings: Settings) -> st.App:
    """Script, routes and their life; nothing is started."""
    relay = Relay(settings)
    return st.App(Path(__file__).with_name("shell.py").resolve(), routes=relay.routes(), lifespan=relay.lifespan)


def streamlit_options(settings: Settings) -> dict[str, object]:
    """Options of ``st.App.run``: where to listen, nothing sent home, no tools of developers, both themes."""
    options: dict[str, object] = {
        "server.address": settings.ui.host,
        "server.port": settings.ui.port,
        "server.headless": True,
        "server.showEmailPrompt": False,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.maxUploadSize": 20,
        "server.maxMessageSize": 50,
        "server.allowedHosts": ["localhost", "127.0.0.1", "::1"] if is_local(settings) else [],
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "logger.hideWelcomeMessage": True,
        "theme.light.primaryColor": PURPLE,
        "theme.dark.primaryColor": "#9d92ff",
        "theme.baseRadius": "0.6rem",
    }
    return options


def is_local(settings: Settings) -> bool:
    """Whether only this machine can reach the pages; then foreign ``Host`` headers are DNS rebinding."""
    return settings.ui.host in {"127.0.0.1", "::1", "localhost"}
