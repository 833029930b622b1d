"""Conversations in the terminal."""

import io
import json
from collections.abc import Callable
from typing import Any, Protocol, cast

import pytest
from pydantic import JsonValue

from tandem.cli.chat import show_reply
from tandem.cli.entry import run
from tandem.client import ChatPiece

REPLY = b'data: {"choices": [{"delta": {"content": "Paris"}}]}\n\ndata: {"choices": [{"delta": {"content": "."}}]}\n\ndata: [DONE]\n\n'


class StandIn(Protocol):
    bodies: list[JsonValue]
    stream: Callable[[str, bytes], None]


def test_one_message_prints_the_reply_and_beside_it_the_lane(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.stream("POST /v1/chat/completions", REPLY)
    assert run(["chat", "capital of France?", "--lane", "fast"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "Paris.\n"
    assert shown.err == "[fast]\n"
    assert '"model": "fast"' in json.dumps(gateway.bodies[0])


def test_a_conversation_carries_its_history(gateway: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("capital of France?\n\nsure?\n/quit\nnever sent\n"))
    gateway.stream("POST /v1/chat/completions", REPLY)
    assert run(["chat"]) == 0
    turns = [cast("dict[str, Any]", body)["messages"] for body in gateway.bodies]
    assert [len(messages) for messages in turns] == [1, 3]
    assert [message["content"] for message in turns[1]] == ["capital of France?", "Paris.", "sure?"]


def test_a_conversation_survives_a_failed_turn(gateway: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert run(["chat"]) == 0
    assert capsys.readouterr().err.count("error: no such thing; look again") == 2


def test_a_slow_turn_shows_its_job_and_progress_beside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    opening = ChatPiece(lane="slow", job_id="job_1")
    pieces = [opening, ChatPiece(reasoning="plan: "), ChatPiece(reasoning="count"), ChatPiece(content="12")]
    assert show_reply(pieces) == "12"
    shown = capsys.readouterr()
    assert shown.out == "12\n"
    assert shown.err == "[slow] job job_1\nplan: count\n"


def test_an_unknown_lane_is_wrong_usage(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chat", "x", "--lane", "medium"]) == 2
    assert "'medium' is none of auto, fast, slow" in capsys.readouterr().err
