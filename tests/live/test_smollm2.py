"""The embedded server with a real, tiny model: what Tandem relies on in llama.cpp, and the port's promises over the real thing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import httpx
import pytest

from fast_model.readout import ReadoutModel
from fast_model.readout_calibration import load_calibration
from tandem.models import Endpoint, OpenAIChatModel
from tandem.schemas.chat import ChatMessage, ChatRequest
from tandem.schemas.questions import Option, Question, QuestionSet
from tandem.testing.suites.chat_model import ChatModelConformance, ask

MODEL = "smollm2-135m-instruct"
ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".venv" / "cache" / "tandem-models"

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@contextmanager
def serving(home: Path, *, slots: int, api_key: str = "") -> Generator[tuple[subprocess.Popen[str], str]]:
    """The server as a process of its own, and its base URL."""
    models = os.environ.get("TANDEM_MODELS_DIR") or str(CACHE)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TANDEM_")}
    ours = {"TANDEM_HOME": str(home), "TANDEM_MODELS_DIR": models, "TANDEM_FAST_MODEL": MODEL, "TANDEM_FAST_SLOTS": str(slots)}
    # one thread: on a busy machine two that wait for each other at every layer are many times slower
    environment = kept | ours | {"TANDEM_FAST_THREADS": "1", "TANDEM_FAST_API_KEY": api_key, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "fast_model.server", "--role", "fast", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, _address(process)
        finally:
            process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "model_server_ready" in line:
            return str(json.loads(line)["address"])
    words = "".join(said)
    if "CI" not in os.environ and ("dependency_missing" in words or "model_fetch_failed" in words):
        pytest.skip(words)
    pytest.fail(f"the server did not start: {words}")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("home"), slots=2) as (_, address):
        yield address


@pytest.fixture
async def chat_model(address: str) -> AsyncIterator[OpenAIChatModel]:
    model = OpenAIChatModel(Endpoint(url=f"{address}/v1", model=MODEL, takes_grammar=True))
    yield model
    await model.close()


class TestOpenAIChatModelOverLlamaCpp(ChatModelConformance):
    pass


async def test_a_seed_repeats_a_sampled_reply(chat_model: OpenAIChatModel) -> None:
    request = ask("Invent a name for a boat.").model_copy(update={"temperature": 1.0, "seed": 11})
    first, second = await chat_model.complete(request), await chat_model.complete(request)
    other = await chat_model.complete(request.model_copy(update={"seed": 12}))
    assert first.text == second.text
    assert other.text != first.text


async def test_a_grammar_is_obeyed(chat_model: OpenAIChatModel) -> None:
    reply = await chat_model.complete(ask("Is water wet?").model_copy(update={"grammar": 'root ::= "yes" | "no"'}))
    assert reply.text in {"yes", "no"}


async def test_a_json_schema_is_obeyed(chat_model: OpenAIChatModel) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 99}}, "required": ["age"], "additionalProperties": False}
    reply = await chat_model.complete(ask("How old is Bob? He is 31.").model_copy(update={"json_schema": schema}))
    assert isinstance(json.loads(reply.text)["age"], int)


async def test_token_probabilities_can_be_asked_for(address: str) -> None:
    body = {"messages": [{"role": "user", "content": "Is water wet?"}], "max_tokens": 1, "logprobs": True, "top_logprobs": 3}
    async with httpx.AsyncClient(trust_env=False) as http:
        choice = (await http.post(f"{address}/v1/chat/completions", json=body, timeout=30)).json()["choices"][0]
    (token,) = choice["logprobs"]["content"]
    assert len(token["top_logprobs"]) == 3
    assert token["logprob"] <= 0


async def test_token_probabilities_come_before_the_temperature(chat_model: OpenAIChatModel) -> None:
    asked = ask("Is water wet? Answer yes or no.", max_tokens=1).model_copy(update={"top_logprobs": 5})
    cold, hot = [(await chat_model.complete(asked.model_copy(update={"temperature": t, "seed": 1}))).chances[0].top for t in (0.0, 2.0)]
    assert dict(hot) == pytest.approx(dict(cold), abs=0.1)


async def test_typed_questions_are_read_out_of_it_in_both_languages(chat_model: OpenAIChatModel) -> None:
    readout = ReadoutModel(chat_model, load_calibration(MODEL), context_tokens=2_048, timeout_s=240)
    options = [Option(value=f"colour {at}") for at in range(20)]
    questions = [
        Question(name="wet", kind="noul", instructions="Is water wet?"),
        Question(name="colour", kind="choice", instructions="Which colour?", options=options),
    ]
    for state in ("Water is wet.", "水是湿的。"):
        reply = await readout.answer(QuestionSet(state=state, questions=questions))
        assert [sum(answer.probabilities) for answer in reply.answers if not answer.is_refused] == [pytest.approx(1)] * 2
    assert reply.answers[1].probabilities != [pytest.approx(1 / 20)] * 20


async def test_the_same_beginning_is_not_read_twice(address: str) -> None:
    body = {"messages": [{"role": "user", "content": "A fairly long beginning. " * 30}], "max_tokens": 1}
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{address}/v1/chat/completions", json=body, timeout=30)
        usage = (await http.post(f"{address}/v1/chat/completions", json=body, timeout=30)).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0.9 * usage["prompt_tokens"] - 5


@pytest.mark.parametrize("path", ["/", "/slots", "/metrics", "/tools"])
async def test_doors_nobody_needs_are_shut(address: str, path: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(address + path, timeout=30)).status_code >= 400


async def test_leaving_a_stream_frees_its_slot_at_once(tmp_path: Path) -> None:
    long = ChatRequest(messages=[ChatMessage(role="user", content="Tell me a story without end.")], max_tokens=4_000, grammar="root ::= [a-z ]+")
    with serving(tmp_path, slots=1) as (_, address):
        model = OpenAIChatModel(Endpoint(url=f"{address}/v1", model=MODEL, takes_grammar=True))
        async with aclosing(model.stream(long)) as deltas:
            await anext(deltas)
        async with asyncio.timeout(20):  # the story alone would take a minute
            assert (await model.complete(ask("Say hello.", max_tokens=1))).text
        await model.close()


async def test_a_key_is_asked_for_when_one_is_set(tmp_path: Path) -> None:
    with serving(tmp_path, slots=1, api_key="k-1") as (_, address):
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{address}/health", timeout=30)).status_code == 200
            assert (await http.get(f"{address}/props", timeout=30)).status_code == 401
        model = OpenAIChatModel(Endpoint(url=f"{address}/v1", model=MODEL, api_key="k-1"))
        assert (await model.complete(ask("Say hello.", max_tokens=2))).text
        await model.close()


async def test_sigterm_ends_the_server_in_time_while_it_generates(tmp_path: Path) -> None:
    with serving(tmp_path, slots=1) as (process, address):
        model = OpenAIChatModel(Endpoint(url=f"{address}/v1", model=MODEL))
        async with aclosing(model.stream(ask("Tell me a long story.", max_tokens=2_000))) as deltas:
            await anext(deltas)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 15) == 0  # two thousand tokens take longer
        await model.close()
