import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.schemas.base import JsonObject
from tandem.testing.scripted_answers import Answer, Narrator, Rule, Script, spoken_pieces, tokens_of
from tandem.testing.scripted_model import ScriptedModelServer


def body(text: str = "Hello?", **fields: object) -> JsonObject:
    return json.loads(json.dumps({"model": "scripted", "messages": [{"role": "user", "content": text}], **fields}))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModelServer]:
    async with ScriptedModelServer(Script(rules=[Rule(when="weather", answers=[Answer(text="Rain."), Answer(text="Sun.")])])) as server:
        yield server


@pytest.fixture
async def http(server: ScriptedModelServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
        yield http


def said(narrator: Narrator, text: str, model: str = "scripted") -> str:
    return narrator.answer(body(text, model=model)).text


def test_the_queue_wins_over_rules_and_rules_over_the_default() -> None:
    narrator = Narrator(
        Script(queue=[Answer(text="queued")], rules=[Rule(when="sky", answers=[Answer(text="ruled")])], default=Answer(text="default"))
    )
    assert [said(narrator, "the sky"), said(narrator, "the sky"), said(narrator, "the sea")] == ["queued", "ruled", "default"]


def test_a_rules_last_answer_is_given_again_and_again() -> None:
    narrator = Narrator(Script(rules=[Rule(when="sky", answers=[Answer(text="first"), Answer(text="then")])]))
    assert [said(narrator, "sky") for _ in range(3)] == ["first", "then", "then"]


def test_a_model_name_can_carry_the_shape_of_its_answer() -> None:
    answer = Narrator(Script()).answer(body(model="scripted-32x10ms-first200ms"))
    assert (len(tokens_of(answer.text)), answer.token_gap_s, answer.first_token_s) == (32, 0.01, 0.2)


def test_max_tokens_and_stop_are_honoured() -> None:
    answer = Answer(text="one two three four")
    assert spoken_pieces(answer, body(max_tokens=2)) == (["one", " two"], "length")
    assert spoken_pieces(answer, body(stop=["three"])) == (["one", " two", " "], "stop")
    assert spoken_pieces(answer, body(stop="two")) == (["one", " "], "stop")


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokens_of(text)) == text


async def test_a_whole_reply_is_json_over_one_kept_connection(server: ScriptedModelServer, http: httpx.AsyncClient) -> None:
    texts = [(await http.post("/v1/chat/completions", json=body("weather"))).json()["choices"][0]["message"]["content"] for _ in range(2)]
    assert texts == ["Rain.", "Sun."]
    assert server.exchanges[1].prompt == "weather"
    assert not server.exchanges[1].has_client_left


async def test_a_stream_ends_with_usage_and_done(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/chat/completions", json=body("weather", stream=True, stream_options={"include_usage": True}))
    *_, usage, done = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    assert done == "[DONE]"
    assert json.loads(usage)["usage"] == {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


async def test_another_process_can_bring_a_script_and_read_what_was_asked(http: httpx.AsyncClient) -> None:
    await http.put("/_script", content=Script(default=Answer(text="Anew.")).model_dump_json())
    await http.post("/v1/chat/completions", json=body("weather"))
    (exchange,) = (await http.get("/_exchanges")).json()["exchanges"]
    assert exchange["body"]["messages"][0]["content"] == "weather"
    assert exchange["pieces_sent"] == 1


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/v1/models", 200), ("/nowhere", 404)])
async def test_the_other_doors_answer(http: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await http.get(path)).status_code == status


async def test_a_body_that_is_no_object_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/chat/completions", content=b"[]")).status_code == 400


async def test_as_a_process_it_prints_its_port_and_stops_at_sigterm() -> None:
    command = [sys.executable, "-m", "tandem.testing.scripted_model", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/health")).json() == {"status": "ok"}
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
