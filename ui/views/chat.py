"""The Chat page: the conversation as stored, what is in flight live, and the composer.

The gateway owns every turn; this page only shows and sends.
"""

from functools import partial
from typing import Final

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from tandem.client import TandemClient
from tandem.errors import NotFound, TandemError
from tandem.schemas.jobs import Job
from tandem.schemas.routing import LaneChoice
from tandem.schemas.threads import MessagePage, ThreadMessage
from ui import state
from ui.live import show_live
from ui.texts import Texts
from ui.view_models import MessageRow, live_data, message_row, plain_label, thread_title

SHOWN_AT_FIRST: Final = 50
"""Newest messages that are drawn; a button loads more."""
READ_AT_ONCE: Final = 200
THREADS_LISTED: Final = 30
STARTERS: Final = 4
LANES: Final[tuple[LaneChoice, ...]] = ("auto", "fast", "slow")
LANE_ICONS: Final = {"auto": ":material/alt_route:", "fast": ":material/bolt:", "slow": ":material/psychology:"}


def show_chat(gateway: TandemClient, jobs_page: StreamlitPage | None, texts: Texts) -> None:
    """Draw the page; ``jobs_page`` is where a job's details are."""
    thread_id = state.open_thread()
    _sidebar(gateway, thread_id, texts)
    page = _read_messages(gateway, thread_id, texts) if thread_id else None
    if page is not None and thread_id is not None and (page.data or page.running_jobs):
        _conversation(gateway, jobs_page, thread_id, page, texts)
    else:
        _welcome(gateway, texts)
    _notice(texts)
    _composer(gateway, texts, is_new=page is None or not page.data)


def _sidebar(gateway: TandemClient, thread_id: str | None, texts: Texts) -> None:
    with st.sidebar:
        st.button(texts("chat.new"), icon=":material/edit_square:", key="new_chat", width="stretch", on_click=state.choose_thread, args=(None,))
        st.caption(texts("chat.threads"))
        for thread in gateway.list_threads(limit=THREADS_LISTED).data:
            st.button(
                plain_label(thread_title(thread, texts)),
                key=f"open-{thread.id}",
                type="secondary" if thread.id == thread_id else "tertiary",
                width="stretch",
                on_click=state.choose_thread,
                args=(thread.id,),
            )
        other = "en" if texts.language == "zh" else "zh"
        st.button(texts("nav.language"), icon=":material/translate:", key="language", type="tertiary", on_click=state.choose_language, args=(other,))


def _read_messages(gateway: TandemClient, thread_id: str, texts: Texts) -> MessagePage | None:
    """All stored messages, oldest first; None, and a word about it, when the conversation is gone."""
    try:
        page = gateway.messages(thread_id, limit=READ_AT_ONCE)
        messages = list(page.data)
        while len(page.data) == READ_AT_ONCE:
            page = gateway.messages(thread_id, after_seq=messages[-1].seq, limit=READ_AT_ONCE)
            messages += page.data
    except NotFound:
        state.choose_thread(None)
        st.warning(texts("chat.gone"), icon=":material/search_off:")
        return None
    return page.model_copy(update={"data": messages})


def _conversation(gateway: TandemClient, jobs_page: StreamlitPage | None, thread_id: str, page: MessagePage, texts: Texts) -> None:
    shown = state.shown_count(thread_id, SHOWN_AT_FIRST)
    if (hidden := len(page.data) - shown) > 0:
        st.button(texts("chat.earlier", n=hidden), key="earlier", type="tertiary", on_click=state.show_more, args=(thread_id, shown + SHOWN_AT_FIRST))
    for message in page.data[-shown:]:
        _message(message_row(message, _job_behind(gateway, message), texts), message.id, jobs_page, texts)
    running = [job for job in (gateway.get_job(job_id) for job_id in page.running_jobs) if not job.status.is_terminal]
    show_live(thread_id, live_data(page, thread_id, running, texts))


def _job_behind(gateway: TandemClient, message: ThreadMessage) -> Job | None:
    """The ended job whose result this message is."""
    if message.job_id is None or message.turn_id is not None:
        return None
    known = state.ended_jobs()
    if message.job_id not in known:
        job = gateway.get_job(message.job_id)
        if not job.status.is_terminal:
            return job
        known[message.job_id] = job
    return known[message.job_id]


def _message(row: MessageRow, message_id: str, jobs_page: StreamlitPage | None, texts: Texts) -> None:
    with st.chat_message(row.role, avatar=row.avatar):
        if row.role == "user":
            st.text(row.text)
            return
        if row.error:
            st.error(texts("chat.failed", reason=plain_label(row.error)), icon=":material/error:")
        if row.text:
            st.markdown(row.text)
        _foot(row, message_id, jobs_page, texts)


def _foot(row: MessageRow, message_id: str, jobs_page: StreamlitPage | None, texts: Texts) -> None:
    if not row.badges:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"foot-{message_id}"):
        st.markdown(" ".join(badge.markdown for badge in row.badges), width="content")
        if row.job_id and jobs_page is not None:
            st.page_link(jobs_page, label=texts("chat.details"), icon=":material/arrow_forward:", query_params={state.JOB: row.job_id})


def _welcome(gateway: TandemClient, texts: Texts) -> None:
    st.header(texts("chat.welcome"), anchor=False)
    st.markdown(texts("chat.welcome.detail"))
    columns = st.columns(2)
    for number in range(1, STARTERS + 1):
        starter = texts(f"chat.starter.{number}")
        columns[(number - 1) % 2].button(starter, key=f"starter-{number}", width="stretch", on_click=partial(_send, gateway, texts, starter))


def _composer(gateway: TandemClient, texts: Texts, *, is_new: bool) -> None:
    with st.bottom:
        st.segmented_control(
            texts("lane.label"),
            LANES,
            key=state.LANE,
            default="auto",
            required=True,
            format_func=lambda lane: f"{LANE_ICONS[lane]} {texts(f'lane.{lane}')}",
            label_visibility="collapsed",
            persist_state="session",
        )
    st.chat_input(  # Streamlit moves it to the bottom itself; placed there by hand, the page would not follow the newest line
        texts("chat.placeholder" if is_new else "chat.placeholder.follow"),
        key=state.COMPOSER,
        on_submit=lambda: _send(gateway, texts, st.session_state[state.COMPOSER]),
    )


def _send(gateway: TandemClient, texts: Texts, text: str) -> None:
    """Hand the text to the gateway, which owns the turn from then on. Runs before the script, so the next drawing already shows it."""
    if not text.strip():
        return
    try:
        thread_id = st.query_params.get(state.THREAD) or gateway.create_thread().id
        state.choose_thread(thread_id)
        gateway.send_message(thread_id, text, state.lane_choice())
    except TandemError as error:
        state.leave_notice(texts("chat.unsent", reason=error.message), text)


def _notice(texts: Texts) -> None:
    """A failure of the last callback, with the text that would else be lost."""
    if (notice := state.take_notice()) is None:
        return
    reason, unsent = notice
    st.error(plain_label(reason), icon=":material/error:")
    if unsent:
        st.caption(texts("chat.unsent.keep"))
        st.code(unsent, language=None, wrap_lines=True)
