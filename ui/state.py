"""What the pages remember between two runs of the script: every session key, the thread in the URL, and the way to the gateway."""

from typing import Final

import streamlit as st

from tandem.schemas.jobs import Job
from tandem.schemas.routing import LaneChoice
from tandem.secrets import load_local_key
from tandem.settings import Settings

THREAD: Final = "thread"
"""Query parameter of the open conversation."""
JOB: Final = "job"
"""Query parameter of the open job."""
LANE: Final = "lane"
"""Widget: the lane the next message shall take."""
JOB_FILTER: Final = "job_filter"
"""Widget: which jobs the list shows."""
COMPOSER: Final = "composer"
"""Widget: the chat input."""
LANGUAGE: Final = "lang"
"""Query parameter and session key of a language chosen by hand."""
_LAST_THREAD: Final = "last_thread"
_ENDED_JOBS: Final = "ended_jobs"
_NOTICE: Final = "notice"
_SHOWN: Final = "shown_messages"


def gateway_key(settings: Settings) -> str | None:
    """The key the pages show to the gateway, read anew each time: ``tandem up`` may create it later."""
    return settings.ui.api_key.get_secret_value() if settings.ui.api_key else load_local_key(settings)


def chosen_language() -> str | None:
    """The language of the URL, else the one chosen earlier in this session; None leaves it to the browser."""
    if asked := st.query_params.get(LANGUAGE):
        st.session_state[LANGUAGE] = asked
    return st.session_state.get(LANGUAGE)


def choose_language(language: str) -> None:
    """Speak this language from now on."""
    st.session_state[LANGUAGE] = language
    st.query_params[LANGUAGE] = language


def open_thread() -> str | None:
    """The conversation of the URL, else the last one of this session (the URL loses it on a change of page)."""
    thread_id = st.query_params.get(THREAD) or st.session_state.get(_LAST_THREAD)
    if thread_id:
        choose_thread(thread_id)
    return thread_id


def choose_thread(thread_id: str | None) -> None:
    """Make this the open conversation; None starts a new one."""
    st.session_state[_LAST_THREAD] = thread_id
    if thread_id is None:
        st.query_params.pop(THREAD, None)
    elif st.query_params.get(THREAD) != thread_id:
        st.query_params[THREAD] = thread_id


def open_job() -> str | None:
    """The job of the URL."""
    return st.query_params.get(JOB)


def choose_job(job_id: str | None) -> None:
    """Make this the open job; None shows the list."""
    if job_id is None:
        st.query_params.pop(JOB, None)
    else:
        st.query_params[JOB] = job_id


def lane_choice() -> LaneChoice:
    """The lane selected for the next message."""
    choice: LaneChoice | None = st.session_state.get(LANE)
    return choice or "auto"


def ended_jobs() -> dict[str, Job]:
    """Jobs seen in their final state, which never changes: no need to ask again."""
    return st.session_state.setdefault(_ENDED_JOBS, {})


def leave_notice(text: str, unsent: str = "") -> None:
    """Keep a failure for the next run; with the text that could not be sent, so that it is not lost."""
    st.session_state[_NOTICE] = (text, unsent)


def take_notice() -> tuple[str, str] | None:
    """The failure left by the last callback, once."""
    return st.session_state.pop(_NOTICE, None)


def shown_count(thread_id: str, default: int) -> int:
    """How many of the newest messages are drawn."""
    return st.session_state.get(_SHOWN, {}).get(thread_id, default)


def show_more(thread_id: str, count: int) -> None:
    """Draw that many from now on."""
    st.session_state[_SHOWN] = {thread_id: count}
