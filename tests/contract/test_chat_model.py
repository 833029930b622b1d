"""``OpenAIChatModel`` against the scripted server: the port's promises, and every way a server can fail."""

from collections.abc import AsyncIterator

import pytest

from tandem.models import Endpoint, OpenAIChatModel
from tandem.testing.scripted_answers import Answer, Script
from tandem.testing.scripted_model import ScriptedModelServer
from tandem.testing.suites.chat_model import ChatModelConformance

SCRIPT = Script(default=Answer(text="One, two, three and so on 直到 ten at last.", token_gap_s=0.004), context_tokens=5_000)


@pytest.fixture
async def chat_model() -> AsyncIterator[OpenAIChatModel]:
    async with ScriptedModelServer(SCRIPT) as server:
        model = OpenAIChatModel(Endpoint(url=server.url, model="scripted"))
        yield model
        await model.close()


class TestOpenAIChatModelOverTheScriptedServer(ChatModelConformance):
    pass
