"""Each page in Streamlit's own test runner, over a gateway in memory."""

from typing import Protocol

import pytest
from streamlit.testing.v1 import AppTest

from tandem.client import TandemClient
from tandem.schemas.jobs import Attempt, Job, JobStatus, JobView, PlanStep, Verification
from tandem.schemas.threads import MessageCreate, ThreadMessage


class InMemory(Protocol):
    """The fixture of conftest.py."""

    sent: list[MessageCreate]
    jobs: dict[str, Job]
    is_away: bool
    refuses_with: str | None

    def client(self) -> TandemClient: ...
    def add_message(self, thread_id: str, **values: object) -> ThreadMessage: ...
    def add_job(self, job_id: str, status: JobStatus, **values: object) -> Job: ...


@pytest.fixture
def gateway(gateway_in_memory: InMemory) -> InMemory:
    return gateway_in_memory


def chat_page(client: "TandemClient", language: str) -> None:
    from ui.texts import load_texts  # noqa: PLC0415 - the test runner executes this function's source alone
    from ui.views.chat import show_chat  # noqa: PLC0415
    from ui.views.failures import explained  # noqa: PLC0415

    texts = load_texts("zh" if language == "zh" else "en")
    explained(texts, lambda: show_chat(client, None, texts))()


def jobs_page(client: "TandemClient") -> None:
    from ui.texts import load_texts  # noqa: PLC0415
    from ui.views.jobs import show_jobs  # noqa: PLC0415

    show_jobs(client, "http://gateway", load_texts("en"))


def chat(gateway: InMemory, thread: str | None = None, language: str = "en") -> AppTest:
    app = AppTest.from_function(chat_page, args=(gateway.client(), language))
    if thread:
        app.query_params["thread"] = thread
    return app.run()


def jobs(gateway: InMemory, job: str | None = None) -> AppTest:
    app = AppTest.from_function(jobs_page, args=(gateway.client(),))
    if job:
        app.query_params["job"] = job
    return app.run()


def markdown(app: AppTest) -> str:
    return "\n".join(element.value for element in app.markdown)


def test_an_empty_chat_welcomes_and_offers_starters(gateway: InMemory) -> None:
    app = chat(gateway)
    assert app.header[0].value == "What can I do for you?"
    assert app.button(key="starter-4").label.startswith("Plan a three-day")
    assert not app.exception


def test_a_starter_opens_a_thread_and_sends(gateway: InMemory) -> None:
    app = chat(gateway)
    app.button(key="starter-1").click().run()
    assert [message.content for message in gateway.sent] == ["Explain what a hash map is in two sentences"]
    assert app.query_params["thread"] == "thr_new"


def test_what_is_typed_goes_to_the_gateway_by_the_chosen_lane_and_is_shown(gateway: InMemory) -> None:
    gateway.add_message("thr_1", role="user", content="before")
    app = chat(gateway, "thr_1")
    app.segmented_control(key="lane").set_value("slow").run()
    app.chat_input(key="composer").set_value("think about it").run()
    assert [(message.content, message.lane) for message in gateway.sent] == [("think about it", "slow")]
    assert app.chat_message[-1].text[0].value == "think about it"


def test_blank_text_is_not_sent(gateway: InMemory) -> None:
    chat(gateway).chat_input(key="composer").set_value("  \n ").run()
    assert gateway.sent == []


def test_stored_messages_have_their_chips(gateway: InMemory) -> None:
    gateway.add_message("thr_1", content="**quick**", lane="fast")
    gateway.add_job("job_1", JobStatus.COMPLETED, verification=Verification(level="V3"))
    gateway.add_message("thr_1", content="42", lane="slow", job_id="job_1", turn_id=None)
    app = chat(gateway, "thr_1")
    assert "**quick**" in markdown(app)
    assert "fast]" in markdown(app)
    assert "V3 · checked by a program" in markdown(app)


def test_the_last_fifty_messages_are_drawn_and_more_on_request(gateway: InMemory) -> None:
    for number in range(60):
        gateway.add_message("thr_1", content=f"answer {number}")
    app = chat(gateway, "thr_1")
    assert len(app.chat_message) == 50
    app.button(key="earlier").click().run()
    assert len(app.chat_message) == 60


def test_a_thread_of_nobody_is_said_to_be_gone(gateway: InMemory) -> None:
    app = chat(gateway, "thr_unknown")
    assert "does not exist" in app.warning[0].value
    assert "thread" not in app.query_params


def test_a_message_that_cannot_be_sent_is_kept(gateway: InMemory) -> None:
    gateway.add_message("thr_1", role="user", content="before")
    app = chat(gateway, "thr_1")
    gateway.refuses_with = "too_many_requests"
    app.chat_input(key="composer").set_value("precious words").run()
    gateway.refuses_with = None
    assert "away" not in markdown(app)
    app.run()
    assert app.code[0].value == "precious words"
    assert "was not sent" in app.error[0].value


def test_an_absent_gateway_is_explained(gateway: InMemory) -> None:
    gateway.is_away = True
    app = chat(gateway)
    assert "tandem up" in app.error[0].value
    assert not app.exception


def test_a_refused_key_is_explained(gateway: InMemory) -> None:
    gateway.refuses_with = "authentication_failed"
    assert "TANDEM_UI_API_KEY" in chat(gateway).error[0].value


def test_the_page_speaks_chinese(gateway: InMemory) -> None:
    app = chat(gateway, language="zh")
    assert app.header[0].value == "我能帮你做什么？"
    assert app.chat_input[0].placeholder == "请输入问题"


def test_jobs_are_listed_and_filtered(gateway: InMemory) -> None:
    gateway.add_job("job_1", JobStatus.COMPLETED)
    gateway.add_job("job_2", JobStatus.IN_PROGRESS)
    app = jobs(gateway)
    assert {button.key for button in app.button} == {"job-job_1", "job-job_2"}
    app.segmented_control(key="job_filter").set_value("done").run()
    assert [button.key for button in app.button] == ["job-job_1"]


def test_no_jobs_is_said_with_the_way_to_one(gateway: InMemory) -> None:
    assert "No jobs here yet" in jobs(gateway).info[0].value


def test_a_job_opens_in_full(gateway: InMemory) -> None:
    view = JobView(
        title="Puzzle", plan=[PlanStep(id="1", title="Count the seats", state="done")], attempts=[Attempt(id="a", strategy="program", answer="1260")]
    )
    gateway.add_job("job_1", JobStatus.COMPLETED, view=view, output_text="It is **1260**.", verification=Verification(level="V3"))
    app = jobs(gateway)
    app.button(key="job-job_1").click().run()
    assert app.query_params["job"] == "job_1"
    shown = markdown(app)
    assert "It is **1260**." in shown
    assert "Count the seats" in shown
    assert "curl -s" in app.code[0].value
    assert not app.exception


def test_a_running_job_can_be_cancelled(gateway: InMemory) -> None:
    gateway.add_job("job_1", JobStatus.IN_PROGRESS)
    jobs(gateway, "job_1").button(key="cancel_job").click().run()
    assert gateway.jobs["job_1"].status is JobStatus.CANCELLED


def test_an_unknown_job_is_said_not_to_exist(gateway: InMemory) -> None:
    assert "does not exist" in jobs(gateway, "job_none").warning[0].value
