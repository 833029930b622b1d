"""The remote sandbox: a loopback server with Piston's protocol, which really runs what it is sent, and one that answers by script."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tandem.egress import GuardedClient
from tandem.errors import SandboxUnavailable
from tandem.settings import EgressSettings
from tandem.testing.scripted_http import Connection, Request
from tools.sandbox.limits import Limits
from tools.sandbox.piston import PistonSandbox

Reply = tuple[int, dict[str, Any] | bytes]


@asynccontextmanager
async def piston(answer: Callable[[dict[str, Any]], Reply], seen: list[Request]) -> AsyncGenerator[PistonSandbox]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        if (request := await connection.read_request()) is not None:
            seen.append(request)
            status, body = await asyncio.to_thread(answer, json.loads(request.body))
            if isinstance(body, bytes):
                connection.send(status, "text/plain", body)
            else:
                connection.send_json(status, body)
            await connection.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = GuardedClient(EgressSettings())
        yield PistonSandbox(f"http://127.0.0.1:{port}", client, Limits(seconds=5.0), "token-1")


def executing(folder: Path) -> Callable[[dict[str, Any]], Reply]:
    """What a Piston does with a package of files, without its walls: the programs are this file's own."""

    def answer(request: dict[str, Any]) -> Reply:
        for file in request["files"]:
            content = base64.b64decode(file["content"]) if file.get("encoding") == "base64" else file["content"].encode()
            (folder / file["name"]).write_bytes(content)
        main = request["files"][0]["name"]
        ran = subprocess.run([sys.executable, main], cwd=folder, input=request["stdin"].encode(), capture_output=True, check=False)
        return 200, {"run": {"stdout": ran.stdout.decode(), "stderr": ran.stderr.decode(), "code": ran.returncode, "signal": None}}

    return answer


async def test_a_program_runs_there_with_its_files_and_brings_files_back(tmp_path: Path) -> None:
    seen: list[Request] = []
    async with piston(executing(tmp_path), seen) as sandbox:
        code = "print('看')\nopen('out/b.txt', 'w').write(open('a.txt').read() * 2)\n{'价格': 3}"
        answer = await sandbox.run(code, {"a.txt": "中".encode()})

    assert (answer.value, answer.printed.strip(), answer.fault) == ({"价格": 3}, "看", None)
    assert [(made.name, made.content.decode()) for made in answer.files] == [("b.txt", "中中")]
    assert (seen[0].path, seen[0].headers["authorization"]) == ("/api/v2/execute", "token-1")
    assert json.loads(seen[0].body)["language"] == "python"


async def test_a_failing_program_comes_back_with_its_line(tmp_path: Path) -> None:
    async with piston(executing(tmp_path), []) as sandbox:
        answer = await sandbox.run("x = 1\n1 / 0", {})

    assert answer.fault is not None
    assert (answer.fault.type, answer.fault.line) == ("ZeroDivisionError", 2)


async def test_a_program_that_is_killed_there_ran_out_of_time() -> None:
    run: dict[str, Any] = {"stdout": "so far", "stderr": "", "code": None, "signal": "SIGKILL"}
    async with piston(lambda _: (200, {"run": run}), []) as sandbox:
        answer = await sandbox.run("while True: pass", {})

    assert (answer.cause, answer.has_replied, answer.printed) == ("time", False, "so far")


@pytest.mark.parametrize(
    "reply",
    [
        (500, {"message": "no"}),
        (200, b"not JSON"),
        (200, b"[" * 100_000),
        (200, {"message": "python-* runtime is unknown"}),
        (302, {"run": {}}),
    ],
    ids=["error", "no JSON", "nested JSON", "unknown language", "redirect"],
)
async def test_a_server_that_answers_otherwise_is_unavailable(reply: Reply) -> None:
    async with piston(lambda _: reply, []) as sandbox:
        with pytest.raises(SandboxUnavailable, match="remote sandbox"):
            await sandbox.run("1", {})


async def test_a_server_that_is_away_is_unavailable() -> None:
    sandbox = PistonSandbox("http://127.0.0.1:9", GuardedClient(EgressSettings()), Limits(seconds=1.0))

    with pytest.raises(SandboxUnavailable, match="does not answer"):
        await sandbox.run("1", {})


@pytest.mark.parametrize(
    "forged", ['{"value": 1}', '{"value": 1, "error": 3, "files": []}', '{"value": 1, "error": null, "files": [["a", "%%%"]]}', "[]", ""]
)
async def test_a_reply_that_no_bootstrap_writes_is_no_reply(forged: str) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        marker = json.loads(request["stdin"])["marker"]
        return 200, {"run": {"stdout": f"x\n{marker}{forged}", "stderr": "", "code": 0, "signal": None}}

    async with piston(answer, []) as sandbox:
        assert not (await sandbox.run("1", {})).has_replied


def test_the_key_is_not_shown() -> None:
    assert "token-1" not in repr(PistonSandbox("http://x", GuardedClient(EgressSettings()), Limits(), "token-1"))
