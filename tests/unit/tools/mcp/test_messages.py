"""JSON-RPC to and from bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.mcp.messages import Answer, Ask, McpFailed, Notice, decode, encode_reply, encode_request, error_code


@pytest.mark.parametrize(
    "raw",
    [
        b"Welcome!",
        b"3",
        b'{"id": 1, "result": {}}',
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "2.0", "id": 1, "result": []}',
        b'{"jsonrpc": "2.0", "id": null, "result": {}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {"n": NaN}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {"n": 1e999}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_message_is_told_as_such(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(raw)


@given(st.binary(max_size=60) | st.text(max_size=30).map(lambda text: json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"t": text}}).encode()))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    try:
        decode(raw)
    except ValueError:
        return


def test_the_kinds_of_messages_are_told_apart() -> None:
    batch = b'[{"jsonrpc":"2.0","id":"7","result":{}},{"jsonrpc":"2.0","id":"x","method":"ping"},{"jsonrpc":"2.0","method":"notifications/message"}]'

    assert decode(batch) == [Answer(7, {}, None), Ask("x", "ping"), Notice("notifications/message")]


def test_half_a_surrogate_pair_is_replaced() -> None:
    (answer,) = decode(rb'{"jsonrpc":"2.0","id":1,"result":{"t":"\ud800 \ud83d\ude00"}}')

    assert answer == Answer(1, {"t": "\ufffd 😀"}, None)


def test_half_a_surrogate_pair_of_ours_can_be_sent() -> None:
    assert b'"\\ud800"' in encode_request(1, "tools/call", {"t": "\ud800"})


def test_a_ping_is_answered_and_everything_else_refused() -> None:
    assert json.loads(encode_reply(Ask(1, "ping")))["result"] == {}
    assert json.loads(encode_reply(Ask(1, "sampling/createMessage")))["error"]["code"] == -32601


@pytest.mark.parametrize(("code", "expected"), [(-32602, "invalid_arguments"), (-32601, "mcp_refused"), (-32000, "mcp_error"), ("x", "mcp_error")])
def test_an_error_of_the_protocol_becomes_a_fault(code: object, expected: str) -> None:
    (answer,) = decode(json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "参数\u202e错误"}}).encode())

    assert isinstance(answer, Answer)
    with pytest.raises(McpFailed, match="参数错误") as raised:
        answer.unwrap("shop")
    assert raised.value.fault.code == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Input validation error: 'a' is a required property", "invalid_arguments"),
        ("2 validation errors for echoArguments", "invalid_arguments"),
        ("Error executing tool: 1 validation error for x", "invalid_arguments"),
        ("参数错误:城市", "invalid_arguments"),
        ("the disk is full", "tool_failed"),
    ],
)
def test_an_error_in_words_is_read_for_whose_fault_it_was(text: str, expected: str) -> None:
    assert error_code(text) == expected
