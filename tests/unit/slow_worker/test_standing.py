"""Where a job's authority begins."""

from slow_worker.standing import DOCUMENTS, first_authority
from slow_worker.workspace import Task
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import Document, JobRequest
from tools.authority import Authority, tainted

REQUEST = JobRequest(input="x")


def task(text: str, *earlier: ChatMessage) -> Task:
    return Task(text=text, context=list(earlier), kind="open", language="en")


def test_addresses_in_the_callers_words_are_known_and_those_in_answers_are_not() -> None:
    context = (ChatMessage(role="user", content="See http://a.example/1"), ChatMessage(role="assistant", content="Or http://b.example/2"))

    authority = first_authority(task("Read http://c.example/3", *context), REQUEST, None)

    assert [authority.knows(url) for url in ("http://a.example/1", "http://b.example/2", "http://c.example/3")] == [True, False, True]
    assert not authority.is_tainted


def test_documents_may_be_anybodys() -> None:
    request = JobRequest(input="x", documents=[Document(name="a", text="See http://a.example/")])

    authority = first_authority(task("x"), request, None)

    assert (authority.tainted_by, authority.knows("http://a.example/")) == (DOCUMENTS, False)


def test_a_part_of_a_tainted_job_names_no_address_and_stays_tainted() -> None:
    parent = tainted(Authority(), "web_fetch http://evil.example/")

    authority = first_authority(task("Read http://c.example/3"), REQUEST, parent)

    assert (authority.tainted_by, authority.knows("http://c.example/3")) == (parent.tainted_by, False)


def test_a_part_of_a_clean_job_is_trusted_like_its_parent() -> None:
    assert first_authority(task("Read http://c.example/3"), REQUEST, Authority()).knows("http://c.example/3")
