"""Documents in front of a conversation."""

import pytest

from slow_worker.documents import NO_DOCUMENTS, Documents
from tandem.errors import ModelContextExceeded
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import Document

TALK = [ChatMessage(role="system", content="Be kind."), ChatMessage(role="user", content="Hello.")]


def test_they_come_after_the_system_message() -> None:
    texts = Documents([Document(name="note", text="Rain.")], "Document '{name}':\n{text}")

    assert [message.content for message in texts.before(TALK)] == ["Be kind.", "Document 'note':\nRain.", "Hello."]
    assert [message.content for message in texts.before(TALK[1:])] == ["Document 'note':\nRain.", "Hello."]


def test_without_documents_nothing_changes() -> None:
    NO_DOCUMENTS.check_fit(512)

    assert NO_DOCUMENTS.before(TALK) == TALK
    assert NO_DOCUMENTS.explain(error := ModelContextExceeded("too long")) is error


def test_only_what_cannot_fit_however_it_is_counted_is_refused_beforehand() -> None:
    Documents([Document(name="short", text="word " * 300)]).check_fit(512)

    with pytest.raises(ModelContextExceeded, match="'long' 15000 characters"):
        Documents([Document(name="long", text="word " * 3_000)]).check_fit(512)
