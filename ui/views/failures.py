"""What a page shows when the gateway says no or nothing at all: what happened, what to do, and a button to try again."""

from collections.abc import Callable

import streamlit as st

from tandem.errors import AuthenticationFailed, GatewayUnreachable, PermissionDenied, TandemError
from ui.texts import Texts


def explained(texts: Texts, page: Callable[[], None]) -> Callable[[], None]:
    """The page, with its failures explained in its place."""

    def show() -> None:
        try:
            page()
        except TandemError as error:
            show_failure(error, texts)

    return show


def show_failure(error: TandemError, texts: Texts) -> None:
    """One failure in words."""
    match error:
        case GatewayUnreachable():
            words, detail = texts("gateway.away"), texts("gateway.away.detail")
        case AuthenticationFailed() | PermissionDenied():
            words, detail = texts("gateway.key"), texts("gateway.key.detail")
        case _:
            words, detail = texts("gateway.error"), error.message
    st.error(f"**{words}** {detail}", icon=":material/cloud_off:")
    st.button(texts("gateway.retry"), icon=":material/refresh:", key="retry")
