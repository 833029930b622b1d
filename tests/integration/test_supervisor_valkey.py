"""The embedded Valkey, run by the supervisor's parts."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from tandem.settings import RedisSettings, Settings
from tandem.supervisor import Change, GuardianLink, Supervisor, child_environment, embedded_url, prepare_valkey, process_table
from tandem.telemetry.clock import SystemClock

pytestmark = pytest.mark.integration


async def test_it_starts_asks_for_its_password_never_evicts_and_stops(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = Settings(home=tmp_path, redis=RedisSettings(port=port))
    specs = [spec for spec in process_table(settings, prepare_valkey(settings)) if spec.name == "valkey"]
    guardian = GuardianLink(tmp_path / "guardian.log")
    changes: list[Change] = []
    environment = child_environment(os.environ, settings)
    supervisor = Supervisor(specs, environment=environment, home=tmp_path, guard=guardian, clock=SystemClock(), report=changes.append)
    await guardian.start()
    try:
        await supervisor.start()
        async with Redis.from_url(embedded_url(settings).get_secret_value()) as redis:
            assert await redis.ping()
            assert await redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        async with Redis(port=port) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
    finally:
        await supervisor.stop()
        await guardian.close()
    assert [change.state for change in changes] == ["starting", "ready", "stopped"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
