import json
import math
from typing import Any

import pytest

from gateway.chat.relay import Relay, WholeAnswer
from tandem.errors import ModelBadResponse
from tandem.schemas.chat import TokenUsage


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish} | more.pop("choice", {})]
    return (
        b"data: "
        + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices} | more).encode()
        + b"\n\n"
    )


def logprobs(token: str, probability: float) -> dict[str, Any]:
    return {"logprobs": {"content": [{"token": token, "logprob": math.log(probability), "top_logprobs": []}]}}


def read(frames: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.removeprefix("data: ")) for frame in frames.decode().split("\n\n") if frame]


def test_words_pass_at_once_without_their_logprobs_and_the_end_is_held() -> None:
    relay = Relay()
    passed = relay.feed(chunk({"role": "assistant", "content": None}))
    passed += relay.feed(chunk({"content": "Hi"}, choice=logprobs("Hi", 0.5)))
    ended = (
        relay.feed(chunk({}, "stop", timings={"n": 1}))
        + relay.feed(chunk(usage={"prompt_tokens": 3, "completion_tokens": 1}))
        + relay.feed(b"data: [DONE]\n\n")
    )
    relay.close()
    assert [choice["delta"] for each in read(passed) for choice in each["choices"]] == [{"role": "assistant", "content": None}, {"content": "Hi"}]
    assert ended == b""
    assert b"logprobs" not in passed
    assert [(chance.token, round(math.exp(chance.logprob), 3)) for chance in relay.chances] == [("Hi", 0.5)]
    assert (relay.text, relay.finish_reason, relay.usage) == ("Hi", "stop", TokenUsage(input_tokens=3, output_tokens=1))
    finish, usage = read(relay.held)
    assert (finish["choices"][0]["finish_reason"], finish["timings"], usage["choices"]) == ("stop", {"n": 1}, [])


def test_bytes_may_be_cut_anywhere() -> None:
    whole = chunk({"content": "你好"}) + chunk({"content": "！"}, "stop")
    relay = Relay()
    passed = b"".join(relay.feed(whole[at : at + 1]) for at in range(len(whole)))
    assert (relay.text, relay.finish_reason) == ("你好！", "stop")
    assert [each["choices"][0]["finish_reason"] for each in read(passed)] == [None, None]


def test_thoughts_pass_too_and_their_chances_do_not_count() -> None:
    relay = Relay()
    passed = relay.feed(chunk({"reasoning_content": "Hm"}, choice=logprobs("Hm", 0.1)))
    assert (read(passed)[0]["choices"][0]["delta"], relay.chances, relay.text) == ({"reasoning_content": "Hm"}, [], "")


def test_our_own_chunks_carry_the_answers_envelope() -> None:
    relay = Relay()
    relay.feed(chunk({"content": "Hi"}))
    (ours,) = read(relay.chunk({"content": "!"}, tandem={"check": {"passed": False}}))
    assert (ours["id"], ours["model"], ours["tandem"]) == ("c", "m", {"check": {"passed": False}})
    assert ours["choices"] == [{"index": 0, "delta": {"content": "!"}, "finish_reason": None, "logprobs": None}]


@pytest.mark.parametrize(
    "data",
    [
        b"data: {not json\n\n",
        b'data: {"id": "c"}\n\n',
        b'data: {"choices": 3}\n\n',
        b'data: {"choices": [{"delta": {"content": 3}}]}\n\n',
        b'data: {"error": {"message": "out of memory"}}\n\n',
    ],
)
def test_what_is_not_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(ModelBadResponse):
        Relay().feed(data)


def test_an_answer_without_an_end_is_refused() -> None:
    relay = Relay()
    relay.feed(chunk({"content": "Hi"}))
    with pytest.raises(ModelBadResponse, match="in the middle"):
        relay.close()


def test_a_whole_answer_is_read_and_keeps_its_other_fields() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "length"} | logprobs("Hi", 0.5)
    answer = WholeAnswer.read(json.dumps({"id": "c", "choices": [choice], "timings": {"n": 1}}).encode())
    assert (answer.text, answer.finish_reason, len(answer.chances)) == ("Hi", "length", 1)
    body = json.loads(answer.with_facts(tandem={"check": {"passed": True}}))
    assert ("logprobs" in body["choices"][0], body["timings"], body["tandem"]) == (False, {"n": 1}, {"check": {"passed": True}})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"index": 0}]}', b'{"choices": [{"message": {"content": 1}}]}']
)
def test_a_whole_answer_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(ModelBadResponse):
        WholeAnswer.read(body)
