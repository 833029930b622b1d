"""The Jobs page: the list, and one job in full. Reads only, but for Cancel; refreshes itself only while something runs."""

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from tandem.client import TandemClient
from tandem.errors import NotFound
from tandem.schemas.events import Event
from tandem.schemas.jobs import Job
from ui import state
from ui.texts import Texts
from ui.view_models import (
    JOB_GROUPS,
    STEP_ICONS,
    JobGroup,
    age_words,
    attempt_rows,
    check_rows,
    curl_command,
    duration_words,
    in_group,
    level_badge,
    plain_label,
    safe_markdown,
    status_badge,
    task_text,
)

LISTED: Final = 100
EVENTS_SHOWN: Final = 200
REFRESH_S: Final = 2.0


def show_jobs(gateway: TandemClient, gateway_url: str, texts: Texts) -> None:
    """Draw the list, or the job of the URL."""
    job_id = state.open_job()
    if job_id is None:
        _list_page(gateway, texts)
    else:
        _job_page(gateway, gateway_url, job_id, texts)


def _list_page(gateway: TandemClient, texts: Texts) -> None:
    st.header(texts("jobs.title"), anchor=False)
    group: JobGroup = st.segmented_control(
        texts("jobs.filter"),
        JOB_GROUPS,
        key=state.JOB_FILTER,
        default="all",
        required=True,
        format_func=lambda name: texts(f"jobs.filter.{name}"),
        label_visibility="collapsed",
    )
    jobs = gateway.list_jobs(limit=LISTED).data
    is_busy = any(not job.status.is_terminal for job in jobs)

    @st.fragment(run_every=REFRESH_S if is_busy else None)
    def rows() -> None:
        listed = (
            [job for job in gateway.list_jobs(limit=LISTED).data if in_group(job, group)]
            if is_busy
            else [job for job in jobs if in_group(job, group)]
        )
        for job in listed:
            _row(job, texts)
        if not listed:
            st.info(f"{texts('jobs.none')} {texts('jobs.none.detail')}", icon=":material/inbox:")

    rows()


def _row(job: Job, texts: Texts) -> None:
    with st.container(border=True, key=f"row-{job.id}"):
        title, badge = st.columns([3, 1], vertical_alignment="center")
        title.button(plain_label(job.view.title), key=f"job-{job.id}", type="tertiary", on_click=state.choose_job, args=(job.id,))
        badge.markdown(status_badge(job.status, texts).markdown, text_alignment="right")
        words = [age_words(_age_s(job.created_at), texts), f"{texts('jobs.effort')}: {texts(f'effort.{job.effort}')}"]
        if job.started_at:
            words.append(duration_words(job, _now()))
        if job.verification:
            words.append(f"{job.verification.level} · {texts(f'level.{job.verification.level}')}")
        title.caption(" · ".join(words))


def _job_page(gateway: TandemClient, gateway_url: str, job_id: str, texts: Texts) -> None:
    st.button(texts("jobs.back"), icon=":material/arrow_back:", type="tertiary", key="back", on_click=state.choose_job, args=(None,))
    try:
        job = gateway.get_job(job_id)
    except NotFound:
        st.warning(texts("jobs.gone"), icon=":material/search_off:")
        return
    is_running = not job.status.is_terminal

    @st.fragment(run_every=REFRESH_S if is_running else None)
    def detail() -> None:
        fresh = gateway.get_job(job_id) if is_running else job
        if is_running and fresh.status.is_terminal:
            st.rerun()
        _header(gateway, fresh, texts)
        overview, events, request = st.tabs([texts("jobs.overview"), texts("jobs.events"), texts("jobs.request")], key="job_tabs")
        with overview:
            _overview(fresh, texts)
        with events:
            _events(gateway.job_event_page(job_id, after=max(-1, fresh.last_seq - EVENTS_SHOWN), limit=EVENTS_SHOWN).data, texts)
        with request:
            _request(fresh, gateway_url, texts)

    detail()


def _header(gateway: TandemClient, job: Job, texts: Texts) -> None:
    st.subheader(plain_label(job.view.title), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        badges = [status_badge(job.status, texts)] + ([level_badge(job.verification.level, texts)] if job.verification else [])
        st.markdown(" ".join(badge.markdown for badge in badges), width="content")
        if not job.status.is_terminal:
            st.button(texts("jobs.cancel"), icon=":material/cancel:", key="cancel_job", on_click=_cancel, args=(gateway, job.id))
    usage = job.usage if job.status.is_terminal else job.view.usage
    facts = {
        texts("jobs.created"): age_words(_age_s(job.created_at), texts),
        texts("jobs.duration"): duration_words(job, _now()),
        texts("jobs.effort"): texts(f"effort.{job.effort_used or job.effort}"),
        texts("jobs.usage"): texts("jobs.usage.words", calls=usage.calls, tokens=usage.input_tokens + usage.output_tokens),
    }
    if job.attempt > 1:
        facts[texts("jobs.claims")] = str(job.attempt)
    st.caption(" · ".join(f"{name}: {value}" for name, value in facts.items()))


def _cancel(gateway: TandemClient, job_id: str) -> None:
    gateway.cancel_job(job_id)


def _overview(job: Job, texts: Texts) -> None:
    if job.error:
        st.error(plain_label(job.error.message), icon=":material/error:")
    if job.output_text:
        st.markdown(f"**{texts('jobs.result')}**")
        with st.container(border=True):
            st.markdown(safe_markdown(job.output_text))
            if job.confidence is not None:
                st.caption(texts("jobs.confidence", percent=f"{job.confidence:.0%}"))
    st.markdown(f"**{texts('jobs.task')}**")
    st.text(task_text(job))
    st.markdown(f"**{texts('jobs.plan')}**")
    if job.view.plan:
        st.markdown("  \n".join(f":material/{STEP_ICONS[step.state]}: {plain_label(step.title)}" for step in job.view.plan))
    else:
        st.caption(texts("jobs.plan.none"))
    for heading, rows in (("jobs.attempts", attempt_rows(job, texts)), ("jobs.checks", check_rows(job, texts))):
        if rows:
            st.markdown(f"**{texts(heading)}**")
            st.dataframe(rows, hide_index=True)


def _events(events: list[Event], texts: Texts) -> None:
    rows = [
        {
            texts("table.seq"): event.sequence_number,
            texts("table.time"): event.created_at,
            texts("table.event"): event.type.removeprefix("response.").removeprefix("tandem."),
            texts("table.data"): str(event.data) if event.data else "",
        }
        for event in reversed(events)
    ]
    time_column = st.column_config.DatetimeColumn(format="HH:mm:ss.SSS", timezone=st.context.timezone)
    st.dataframe(rows, hide_index=True, column_config={texts("table.time"): time_column})


def _request(job: Job, gateway_url: str, texts: Texts) -> None:
    st.caption(texts("jobs.curl"))
    st.code(curl_command(job, gateway_url), language="bash", wrap_lines=True)
    st.caption(texts("jobs.raw"))
    st.json(job.model_dump_json(by_alias=True), expanded=1)


def _age_s(moment: datetime) -> float:
    return max(0.0, (_now() - moment).total_seconds())


def _now() -> datetime:
    return datetime.now(UTC)
