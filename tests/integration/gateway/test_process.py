"""The gateway as a process of its own, on its real event loop."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.dependencies import open_dependencies
from gateway.openapi import main as write_openapi
from tandem.ids import DEFAULT_TENANT
from tandem.schemas.keys import ALL_SCOPES
from tandem.secrets import digest, new_token
from tandem.settings import Settings
from tandem.testing.ports import free_ports

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[3]


@asynccontextmanager
async def process(environment: dict[str, str]) -> AsyncGenerator[asyncio.subprocess.Process]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")} | {"PYTHONPATH": str(ROOT)}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=kept | environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


def environment_for(home: Path, port: int, model_url: str) -> dict[str, str]:
    return {
        "TANDEM_HOME": str(home),
        "TANDEM_GATEWAY_PORT": str(port),
        "TANDEM_FAST_URL": model_url,
        "TANDEM_SLOW_URL": model_url,
        "TANDEM_REDIS_URL": "redis://127.0.0.1:9/0",
    }


async def make_key(home: Path) -> str:
    dependencies = open_dependencies(Settings(home=home))
    await dependencies.storage.migrate()
    key_id = dependencies.ids.key()
    token, secret = new_token(key_id)
    await dependencies.storage.keys.add(key_id, DEFAULT_TENANT, "test", ALL_SCOPES, digest(dependencies.pepper, secret))
    for port in (dependencies.storage, dependencies.queue, dependencies.notifier, dependencies.fast, dependencies.slow):
        await port.close()
    return token


async def until_up(url: str, running: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(50):
        while True:
            assert running.returncode is None, "the gateway has ended"
            try:
                if (await client.get(f"{url}/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_a_gateway_serves_without_redis_and_ends_its_streams_when_told_to_stop(tmp_path: Path, model: Any) -> None:
    token = await make_key(tmp_path)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    async with process(environment_for(tmp_path, port, model.url)) as running:
        await until_up(url, running)
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=20) as client:
            for is_stream in (False, True):
                body = {"model": "fast", "messages": [{"role": "user", "content": "hi"}], "stream": is_stream}
                answer = await client.post("/v1/chat/completions", json=body)
                assert (answer.status_code, "Hello" in answer.text) == (200, True)
            job = await client.post("/v1/jobs", json={"input": "add 2 and 2"})
            assert job.status_code == 202
            async with client.stream("GET", f"/v1/jobs/{job.json()['id']}/events", headers={"accept": "text/event-stream"}) as stream:
                pieces = stream.aiter_bytes()
                seen = b""
                while b"response.queued" not in seen:
                    seen += await anext(pieces)
                running.send_signal(signal.SIGTERM)
                async with asyncio.timeout(50):  # whole: the streams end by themselves, nobody cuts them off
                    assert [piece async for piece in pieces] == []
        async with asyncio.timeout(50):
            await running.wait()


async def test_a_bad_setting_or_a_taken_port_is_one_clear_line(tmp_path: Path, model: Any) -> None:
    (port,) = free_ports(1)
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    for extra, words in [({"TANDEM_GATEWAY_MAX_DEPTH": "1"}, b"TANDEM_GATEWAY_MAX_DEPTH"), ({}, b"cannot listen on 127.0.0.1")]:
        async with process(environment_for(tmp_path, port, model.url) | extra) as running:
            _, said = await running.communicate()
        assert running.returncode == 1
        assert words in said
        assert b"Traceback" not in said
    taken.close()


def test_the_document_has_every_door_and_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "openapi.json"
    assert write_openapi(["--check", str(file)]) == 1
    assert "make openapi" in capsys.readouterr().err
    assert write_openapi(["--write", str(file)]) == 0
    assert write_openapi(["--check", str(file)]) == 0
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["paths"]["/v1/chat/completions"]["post"]["security"] == [{"key": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "HTTPValidationError" not in document["components"]["schemas"]
