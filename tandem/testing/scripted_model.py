"""A model server that follows a script: the OpenAI protocol over raw asyncio, for tests, browser tests and benchmarks.

In a test::

    async with ScriptedModelServer(Script(default=Answer(text="Hello."))) as server:
        model = OpenAIChatModel(Endpoint(url=server.url, model="scripted"))

As a process: ``python -m tandem.testing.scripted_model --port 0 --script FILE.json`` prints its port on the first line and serves until SIGTERM.
Beside ``/v1/chat/completions``, ``/v1/models`` and ``/health`` it has ``GET /_exchanges`` (what was asked, and whether the client left) and
``PUT /_script``, for tests in another process. Listens on loopback only.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import JsonValue, TypeAdapter, ValidationError

from tandem.schemas.base import JsonObject
from tandem.sse import DONE_FRAME, data_frame
from tandem.testing.scripted_answers import Answer, Fault, Narrator, Script, logprobs_of, prompt_of, spoken_pieces, tokens_of
from tandem.testing.scripted_http import LOOPBACK, ClientLeft, ClosedByScript, Connection, Request

_JSON_OBJECT: Final = TypeAdapter(JsonObject)


@dataclass(slots=True)
class Exchange:
    """One chat completion as the server saw it."""

    body: JsonObject
    headers: dict[str, str]
    """Names in lower case."""
    received_s: float
    """On this process's monotonic clock."""
    pieces_sent: int = 0
    is_over: bool = False
    has_client_left: bool = False
    """The client closed the connection before the answer was complete."""

    @property
    def prompt(self) -> str:
        return prompt_of(self.body)


class ScriptedModelServer:
    """Serves a script on an ephemeral loopback port, from ``__aenter__`` to ``__aexit__``."""

    def __init__(self, script: Script | None = None, *, port: int = 0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.exchanges: list[Exchange] = []
        self._narrator = Narrator(script or Script())
        self._port = port
        self._monotonic = monotonic
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._over = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """Base URL with ``/v1``."""
        return f"http://{LOOPBACK}:{self._port}/v1"

    def enqueue(self, *answers: Answer) -> None:
        """Give these answers once each, before the script's rules."""
        self._narrator.enqueue(*answers)

    def use(self, script: Script) -> None:
        """Start over with another script."""
        self._narrator = Narrator(script)

    async def settle(self, timeout_s: float = 5.0) -> None:
        """Wait until every exchange is over: answered, broken off or abandoned by its client."""
        async with asyncio.timeout(timeout_s), self._over:
            await self._over.wait_for(lambda: all(exchange.is_over for exchange in self.exchanges))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server callback runs in its task
        self._connections.add(task)
        connection = Connection(reader, writer)
        try:
            while (request := await connection.read_request()) is not None:
                await self._respond(connection, request)
        except (ConnectionError, ClientLeft, ClosedByScript):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(self, connection: Connection, request: Request) -> None:
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                await self._complete(connection, request)
            case "GET", "/v1/models":
                script = self._narrator.script
                listed: list[JsonValue] = [{"id": name, "object": "model", "created": 0, "owned_by": script.owned_by} for name in script.models]
                connection.send_json(HTTPStatus.OK, {"object": "list", "data": listed})
            case "GET", "/health":
                connection.send_json(HTTPStatus.OK, {"status": "ok"})
            case "GET", "/_exchanges":
                connection.send_json(HTTPStatus.OK, {"exchanges": [_shown(exchange) for exchange in self.exchanges]})
            case "PUT", "/_script":
                self.use(Script.model_validate_json(request.body))
                connection.send_json(HTTPStatus.OK, {"status": "ok"})
            case _:
                connection.send_json(HTTPStatus.NOT_FOUND, {"error": {"message": f"no door {request.path!r}", "type": "not_found_error"}})
        await connection.drain()

    async def _complete(self, connection: Connection, request: Request) -> None:
        try:
            body = _JSON_OBJECT.validate_json(request.body)
        except ValidationError:
            connection.send_json(HTTPStatus.BAD_REQUEST, {"error": {"message": "the body is not a JSON object", "type": "invalid_request_error"}})
            return
        exchange = Exchange(body, request.headers, self._monotonic())
        self.exchanges.append(exchange)
        try:
            async with connection.watch():
                await _Performance(connection, self._narrator.answer(body), exchange).run()
        except (ClientLeft, ConnectionError):
            exchange.has_client_left = True
            raise
        finally:
            exchange.is_over = True
            async with self._over:
                self._over.notify_all()


class _Performance:
    """One answer being given."""

    def __init__(self, connection: Connection, answer: Answer, exchange: Exchange) -> None:
        self._connection = connection
        self._answer = answer
        self._exchange = exchange
        self._body = exchange.body
        self._pieces, self._finish_reason = spoken_pieces(answer, exchange.body)
        self._thoughts = tokens_of(answer.reasoning)

    async def run(self) -> None:
        answer, connection = self._answer, self._connection
        if answer.fault is Fault.RESET:
            connection.reset()
        if answer.fault is Fault.HANG:
            await connection.pause(None)
        await connection.pause(answer.first_token_s)
        if answer.fault is Fault.WRONG_TYPE:
            connection.send(HTTPStatus.OK, "text/html", b"<html><body>It works!</body></html>")
        elif answer.status != HTTPStatus.OK:
            error: JsonValue = answer.error or {"message": f"scripted status {answer.status}", "type": "server_error", "code": answer.status}
            connection.send_json(answer.status, {"error": error}, answer.headers)
        elif self._body.get("logprobs") and answer.logprobs == "refused":
            connection.send_json(HTTPStatus.BAD_REQUEST, {"error": {"message": "logprobs are not supported", "type": "invalid_request_error"}})
        elif self._body.get("stream") and not answer.ignores_stream:
            await self._stream()
        else:
            await connection.pause(answer.token_gap_s * len(self._pieces))
            self._exchange.pieces_sent = len(self._pieces)
            message: JsonObject = {"role": "assistant", "content": "".join(self._pieces), "reasoning_content": answer.reasoning or None}
            logprobs = logprobs_of(answer, self._pieces, self._body)
            choice: JsonObject = {"index": 0, "message": message, "finish_reason": self._finish_reason, "logprobs": logprobs}
            connection.send_json(HTTPStatus.OK, self._envelope("chat.completion", [choice], usage=answer.counts_tokens), answer.headers)

    async def _stream(self) -> None:
        connection, answer = self._connection, self._answer
        connection.start_stream(answer.headers)
        self._send_piece({"role": "assistant", "content": None})
        thoughts = (("reasoning_content", thought) for thought in self._thoughts)
        for number, (kind, piece) in enumerate((*thoughts, *(("content", piece) for piece in self._pieces))):
            if number == answer.fault_after and answer.fault is not None:
                break
            if number:
                await connection.pause(answer.token_gap_s)
            self._send_piece({kind: piece})
            self._exchange.pieces_sent += 1
            await connection.drain()
        if answer.fault is not None:
            await self._fail()
        if answer.fault is not Fault.NO_FINISH:
            self._send_piece({}, self._finish_reason)
        options = self._body.get("stream_options")
        if answer.counts_tokens and isinstance(options, dict) and options.get("include_usage"):
            self._send_event(self._envelope("chat.completion.chunk", [], usage=True))
        connection.send_chunk(DONE_FRAME)
        connection.end_stream()

    async def _fail(self) -> None:
        match self._answer.fault:
            case Fault.STALL:
                await self._connection.pause(None)
            case Fault.CUT:
                await self._connection.drain()
                self._connection.close()
            case Fault.STREAM_ERROR:
                self._send_event({"error": {"message": "scripted error", "type": "server_error", "code": 500}})
            case Fault.GARBAGE:
                self._connection.send_chunk(data_frame(b"{this is not JSON"))
            case _:
                pass

    def _send_piece(self, delta: JsonObject, finish_reason: str | None = None) -> None:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        if isinstance(said := delta.get("content"), str) and (logprobs := logprobs_of(self._answer, [said], self._body)) is not None:
            choice["logprobs"] = logprobs
        self._send_event(self._envelope("chat.completion.chunk", [choice], usage=False))

    def _send_event(self, value: JsonObject) -> None:
        self._connection.send_chunk(data_frame(json.dumps(value, ensure_ascii=False).encode()))

    def _envelope(self, kind: str, choices: list[JsonValue], *, usage: bool) -> JsonObject:
        value: JsonObject = {
            "id": "chatcmpl-scripted",
            "object": kind,
            "created": 0,
            "model": self._body.get("model", "scripted"),
            "choices": choices,
        }
        if usage:
            prompt, output = len(tokens_of(self._exchange.prompt)), len(self._thoughts) + len(self._pieces)
            value["usage"] = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tandem.testing.scripted_model", description="A model server that follows a script.")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 (the default) lets the system choose")
    parser.add_argument("--script", type=Path, help="JSON file; without it the model says one sentence")
    options = parser.parse_args(arguments)
    script = Script.model_validate_json(options.script.read_bytes()) if options.script else Script()
    asyncio.run(_serve(script, options.port))


async def _serve(script: Script, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ScriptedModelServer(script, port=port) as server:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        await stop.wait()


def _shown(exchange: Exchange) -> JsonObject:
    return {
        "body": exchange.body,
        "pieces_sent": exchange.pieces_sent,
        "is_over": exchange.is_over,
        "has_client_left": exchange.has_client_left,
    }


if __name__ == "__main__":
    main()
