import json
from typing import Any

import pytest

from gateway.chat.request import lane_choice, read_chat, splice
from tandem.errors import InputTooLong, InvalidRequest, UnknownModel


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}]} | fields).encode()


def read(raw: bytes) -> Any:
    return read_chat(raw, max_depth=8, max_input_chars=1_000)


def says(content: object) -> list[object]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("raw", "param", "words"),
    [
        (b"", None, "not valid JSON"),
        (b"{", None, "not valid JSON"),
        (b"[]", None, "expected 'object'"),
        (b"\xff", None, "not valid"),
        (b'{"model":"auto","messages":[{"role":"user","content":"\xff\xfe"}]}', None, "UTF-8"),
        (b'{"model":"auto","messages":[{"role":"user","content":"\\ud800"}]}', None, "half a surrogate pair, '\\\\ud800'"),
        (b'{"model":"auto","messages":[{"role":"user","content":"\\udc00x"}]}', None, "half a surrogate pair"),
        (body(messages=says("a\x00b")), "messages.0.content", "U+0000 at offset 1"),
        (body(messages=[]), "messages", "got []"),
        (body(messages="x"), "messages", "got 'x'"),
        (body(messages=says(3)), "messages.0.content", "got 3"),
        (body(messages=[{"role": "wizard", "content": "hi"}]), "messages.0.role", "wizard"),
        (body(messages=[{"content": "hi"}]), "messages.0.role", "missing"),
        (json.dumps({"messages": says("hi")}).encode(), "model", "missing"),
        (body(model=7), "model", "got 7"),
        (body(max_tokens=0), "max_tokens", "got 0"),
        (body(max_tokens="many"), "max_tokens", "'many'"),
        (body(temperature=9), "temperature", "got 9"),
        (body(n=0), "n", "got 0"),
        (body(stream="yes"), "stream", "'yes'"),
        (body(reasoning_effort="heroic"), "reasoning_effort", "heroic"),
        (body(metadata={"a": 1}), "metadata", "got"),
        (body(extra=[[[[[[[[[[1]]]]]]]]]]), None, "levels deep"),
    ],
)
def test_a_bad_body_is_refused_naming_field_and_value(raw: bytes, param: str | None, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(raw)
    assert caught.value.param == param
    assert words in caught.value.message


def test_a_message_above_the_limit_is_too_long() -> None:
    with pytest.raises(InputTooLong, match="1001 characters, 1000 are allowed"):
        read(body(messages=says("字" * 1_001)))
    read(body(messages=says("字" * 1_000)))


def test_fields_nobody_reads_pass_through_byte_for_byte() -> None:
    raw = b'{ "seed":1.50, "model" : "auto","messages":  [ {"role":"user","content":"\\u4f60"} ],"x":{"model":"auto"} }'
    sent = splice(raw, "qwen", None)
    assert b'"seed":1.50' in sent
    assert b'[ {"role":"user","content":"\\u4f60"} ]' in sent
    assert json.loads(sent) == json.loads(raw) | {"model": "qwen"}


def test_a_system_prompt_goes_in_front_of_the_conversation() -> None:
    sent = json.loads(splice(body(), "qwen", "Be brief. 简短。"))
    assert sent["messages"] == [{"role": "system", "content": "Be brief. 简短。"}, {"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"tools": []}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"logprobs": False}, None),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"n": 2}, "n"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages.0"),
        ({"messages": says([{"type": "image_url", "image_url": {"url": "x"}}])}, "messages.0"),
    ],
)
def test_what_only_a_model_server_can_honour_is_named(fields: dict[str, Any], expected: str | None) -> None:
    assert read(body(**fields)).fast_only() == expected


def test_the_router_sees_the_newest_human_message_and_those_before() -> None:
    messages = [{"role": role, "content": text} for role, text in [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]]
    turns = read(body(messages=messages, reasoning_effort="xhigh")).turns("slow")
    assert (turns.text, list(turns.history), turns.choice, turns.effort) == ("c", ["a"], "slow", "max")


def test_text_parts_are_read_as_one_text() -> None:
    chat = read(body(messages=says([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])))
    assert chat.conversation()[0].content == "a\nb"


def test_an_unknown_model_is_refused_with_the_known_names() -> None:
    assert lane_choice("qwen", {"auto": "auto", "qwen": "fast"}) == "fast"
    with pytest.raises(UnknownModel, match="'gpt-9' is not served here; use one of auto, qwen"):
        lane_choice("gpt-9", {"auto": "auto", "qwen": "fast"})


def test_a_splice_can_wish_for_logprobs_whatever_the_caller_said() -> None:
    sent = json.loads(splice(body(logprobs=False), "qwen", None, top_logprobs=2))
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    assert "top_logprobs" not in json.loads(splice(body(), "qwen", None))
