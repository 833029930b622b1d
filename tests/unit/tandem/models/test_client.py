import asyncio
import math
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from tandem.errors import ModelBadResponse, ModelContextExceeded, ModelError, ModelTimeout, ModelUnavailable
from tandem.models import Endpoint, OpenAIChatModel
from tandem.schemas.chat import ChatMessage, ChatRequest, TokenUsage
from tandem.testing.scripted_answers import Answer, Fault, Script
from tandem.testing.scripted_model import ScriptedModelServer

REQUEST = ChatRequest(messages=[ChatMessage(role="user", content="Say hello.")])
LONG = Answer(text="word " * 2_000, token_gap_s=0.01)


class Pauses:
    """Counts the waits between tries instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModelServer]:
    async with ScriptedModelServer() as server:
        yield server


@asynccontextmanager
async def open_model(url: str, pauses: Pauses, *, read_timeout_s: float = 5.0, **options: str | bool | None) -> AsyncGenerator[OpenAIChatModel]:
    api_key, takes_grammar = options.get("api_key"), options.get("takes_grammar")
    assert not isinstance(api_key, bool)
    assert not isinstance(takes_grammar, str)
    endpoint = Endpoint(url=url, model="scripted", api_key=api_key, takes_grammar=takes_grammar, read_timeout_s=read_timeout_s)
    model = OpenAIChatModel(endpoint, sleep=pauses)
    try:
        yield model
    finally:
        await model.close()


@pytest.fixture
async def model(server: ScriptedModelServer, pauses: Pauses) -> AsyncIterator[OpenAIChatModel]:
    async with open_model(server.url, pauses) as model:
        yield model


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(status=500), ModelUnavailable),
        (Answer(status=502), ModelUnavailable),
        (Answer(status=504), ModelTimeout),
        (Answer(status=401), ModelUnavailable),
        (Answer(status=404), ModelUnavailable),
        (Answer(status=418), ModelBadResponse),
        (Answer(fault=Fault.RESET), ModelUnavailable),
        (Answer(fault=Fault.WRONG_TYPE), ModelBadResponse),
        (Answer(fault=Fault.CUT), ModelBadResponse),
        (Answer(fault=Fault.NO_FINISH), ModelBadResponse),
        (Answer(fault=Fault.GARBAGE), ModelBadResponse),
        (Answer(fault=Fault.STREAM_ERROR), ModelBadResponse),
        (
            Answer(status=400, error={"message": "This model's maximum context length is 4096 tokens. However, you requested 6000"}),
            ModelContextExceeded,
        ),
        (Answer(status=400, error={"message": "The decoder prompt is longer than the maximum model length of 4096."}), ModelContextExceeded),
        (Answer(status=400, error={"code": "context_length_exceeded", "message": "too long"}), ModelContextExceeded),
    ],
)
async def test_each_fault_of_the_server_has_its_error(
    server: ScriptedModelServer, model: OpenAIChatModel, answer: Answer, error: type[ModelError]
) -> None:
    server.enqueue(answer)
    with pytest.raises(error) as raised:
        await model.complete(REQUEST)
    assert type(raised.value) is error
    assert len(server.exchanges) == 1


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
async def test_a_silent_server_times_out_and_is_left(server: ScriptedModelServer, pauses: Pauses, fault: Fault) -> None:
    server.enqueue(Answer(fault=fault))
    async with open_model(server.url, pauses, read_timeout_s=0.05) as model:
        with pytest.raises(ModelTimeout, match="silent"):
            await model.complete(REQUEST)
    await server.settle()
    assert server.exchanges[0].has_client_left


async def test_a_refused_connection_is_tried_three_times_with_pauses(pauses: Pauses) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with open_model(url, pauses) as model:
            with pytest.raises(ModelUnavailable, match="is it running"):
                await model.complete(REQUEST)
    assert pauses.seconds == [0.2, 0.8]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again_and_its_retry_after_is_kept(
    server: ScriptedModelServer, model: OpenAIChatModel, pauses: Pauses, status: int
) -> None:
    server.enqueue(Answer(status=status, headers={"Retry-After": "2"}), Answer(status=status), Answer(text="At last."))
    assert (await model.complete(REQUEST)).text == "At last."
    assert pauses.seconds == [2.0, 0.8]


async def test_a_server_that_stays_busy_is_reported_with_its_retry_after(server: ScriptedModelServer, model: OpenAIChatModel, pauses: Pauses) -> None:
    server.enqueue(Answer(status=429, headers={"Retry-After": "60"}))
    with pytest.raises(ModelUnavailable) as raised:
        await model.complete(REQUEST)
    assert raised.value.retry_after_s == 60.0
    assert pauses.seconds == []


async def test_nothing_is_retried_after_the_first_byte(server: ScriptedModelServer, model: OpenAIChatModel, pauses: Pauses) -> None:
    server.enqueue(Answer(fault=Fault.CUT, fault_after=1))
    with pytest.raises(ModelBadResponse, match="broke off"):
        await model.complete(REQUEST)
    assert len(server.exchanges) == 1
    assert pauses.seconds == []


async def test_closing_a_stream_closes_the_upstream_connection(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.enqueue(LONG)
    async with aclosing(model.stream(REQUEST)) as deltas:
        await anext(deltas)
    await server.settle()
    assert server.exchanges[0].has_client_left
    assert server.exchanges[0].pieces_sent < 10


async def test_cancelling_a_whole_reply_closes_the_upstream_connection(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.enqueue(LONG)
    task = asyncio.create_task(model.complete(REQUEST))
    while not server.exchanges or not server.exchanges[0].pieces_sent:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.settle()
    assert server.exchanges[0].has_client_left


async def test_reasoning_comes_apart_from_the_text(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.enqueue(Answer(reasoning="Let me think.", text="Four."))
    reply = await model.complete(REQUEST)
    assert (reply.reasoning, reply.text) == ("Let me think.", "Four.")


async def test_without_usage_the_pieces_are_counted(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.enqueue(Answer(text="One two three", counts_tokens=False))
    assert (await model.complete(REQUEST)).usage == TokenUsage(output_tokens=3)


async def test_a_server_that_ignores_stream_is_understood(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.enqueue(Answer(text="All at once.", ignores_stream=True))
    reply = await model.complete(REQUEST)
    assert (reply.text, reply.finish_reason) == ("All at once.", "stop")
    assert reply.usage.output_tokens == 3


async def test_the_request_is_sent_whole(server: ScriptedModelServer, pauses: Pauses) -> None:
    request = REQUEST.model_copy(update={"seed": 3, "stop": ["END"], "json_schema": {"type": "object"}, "grammar": 'root ::= "a"', "max_tokens": 9})
    async with open_model(server.url, pauses, api_key="k-1", takes_grammar=True) as model:
        await model.complete(request)
    exchange = server.exchanges[0]
    assert exchange.headers["authorization"] == "Bearer k-1"
    assert exchange.body == {
        "model": "scripted",
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 9,
        "temperature": 0.7,
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 3,
        "stop": ["END"],
        "grammar": 'root ::= "a"',
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": {"type": "object"}}},
    }


@pytest.mark.parametrize(("owner", "is_sent"), [("llamacpp", True), ("vllm", False)])
async def test_a_grammar_goes_only_to_servers_that_take_one(server: ScriptedModelServer, model: OpenAIChatModel, owner: str, is_sent: bool) -> None:
    server.use(Script(owned_by=owner))
    await model.complete(REQUEST.model_copy(update={"grammar": 'root ::= "a"'}))
    assert ("grammar" in server.exchanges[0].body) is is_sent


async def test_check_accepts_ollamas_tag(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.use(Script(models=["scripted:latest"]))
    assert await model.check() == "scripted"


async def test_check_names_what_is_served_instead(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.use(Script(models=["llama-70b"]))
    with pytest.raises(ModelUnavailable, match="serves \\['llama-70b'\\], not 'scripted'"):
        await model.check()


async def test_check_refuses_what_is_not_a_model_list(pauses: Pauses) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="It works!"))
    model = OpenAIChatModel(Endpoint(url="http://127.0.0.1:1/v1", model="m"), transport=transport, sleep=pauses)
    with pytest.raises(ModelBadResponse, match="It works!"):
        await model.check()
    await model.close()


async def test_a_stream_of_bytes_without_events_is_cut_off(pauses: Pauses) -> None:
    async def noise() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1_048_576

    headers = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=noise()))
    model = OpenAIChatModel(Endpoint(url="http://127.0.0.1:1/v1", model="m"), transport=transport, sleep=pauses)
    with pytest.raises(ModelBadResponse, match="without an event"):
        await model.complete(REQUEST)
    await model.close()


async def test_a_malformed_url_is_an_unavailable_server(pauses: Pauses) -> None:
    async with open_model("http://127.0.0.1:port/v1", pauses) as model:
        with pytest.raises(ModelUnavailable, match="malformed url"):
            await model.complete(REQUEST)
        with pytest.raises(ModelUnavailable, match="malformed url"):
            await model.check()


def test_the_key_is_not_in_the_endpoints_repr() -> None:
    assert "secret" not in repr(Endpoint(url="http://x/v1", model="m", api_key="secret"))


async def test_the_chance_of_each_token_comes_with_the_text_when_it_is_asked_for(server: ScriptedModelServer, model: OpenAIChatModel) -> None:
    server.use(Script(default=Answer(text="It is 42.", doubts={"42": 0.4})))
    plain = await model.complete(REQUEST)
    reply = await model.complete(REQUEST.model_copy(update={"top_logprobs": 2}))
    assert (plain.chances, "logprobs" in server.exchanges[0].body) == ([], False)
    assert [(chance.token, round(math.exp(chance.logprob), 3)) for chance in reply.chances] == [("It", 0.9), (" is", 0.9), (" 42.", 0.4)]
    assert [len(chance.top) for chance in reply.chances] == [2, 2, 2]
    assert (server.exchanges[1].body["logprobs"], server.exchanges[1].body["top_logprobs"]) == (True, 2)


@pytest.mark.parametrize("ignores_stream", [False, True])
async def test_a_server_without_chances_still_answers(server: ScriptedModelServer, model: OpenAIChatModel, ignores_stream: bool) -> None:
    server.enqueue(Answer(text="Fine.", logprobs="left_out", ignores_stream=ignores_stream))
    reply = await model.complete(REQUEST.model_copy(update={"top_logprobs": 2}))
    assert (reply.text, reply.chances) == ("Fine.", [])


async def test_a_server_that_refuses_chances_is_asked_without_them_and_not_for_them_again(
    server: ScriptedModelServer, model: OpenAIChatModel
) -> None:
    server.use(Script(default=Answer(text="Fine.", logprobs="refused")))
    for _ in range(2):
        assert (await model.complete(REQUEST.model_copy(update={"top_logprobs": 2}))).text == "Fine."
    assert ["logprobs" in exchange.body for exchange in server.exchanges] == [True, False, False]


async def test_a_request_that_is_bad_for_another_reason_does_not_end_the_asking_for_chances(
    server: ScriptedModelServer, model: OpenAIChatModel
) -> None:
    asked = REQUEST.model_copy(update={"top_logprobs": 2})
    server.enqueue(Answer(status=400), Answer(status=400))
    with pytest.raises(ModelBadResponse):
        await model.complete(asked)
    await model.complete(asked)
    assert ["logprobs" in exchange.body for exchange in server.exchanges] == [True, False, True]
