"""``python -m bench.rig.tandem_server --upstream URL --home DIR [--no-router]``: the real gateway as a peer of the benchmark.

Real: authentication, limits, routing, records, SQLite, metrics, the hot path. Not there: Redis and a worker (jobs wait). Without the router a
classifier that always says fast stands in its place. The first line on standard output is the port and a key.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from gateway.__main__ import server_config
from gateway.app import create_app
from gateway.dependencies import open_dependencies
from tandem.events import MemoryNotifier
from tandem.ids import DEFAULT_TENANT
from tandem.ports import Score, Turns
from tandem.schemas.keys import ALL_SCOPES
from tandem.secrets import digest, new_token
from tandem.settings import LogSettings, Settings
from tandem.telemetry import configure_logging

_NEVER_SLOW: Final = Score(p_slow=0.0, contributions=())


class NoClassifier:
    """Costs nothing and knows nothing."""

    version = "none"

    def score(self, turns: Turns) -> Score:  # noqa: ARG002 - the port's signature
        return _NEVER_SLOW


class NoHints:
    """Nobody to wake."""

    async def hint(self, count: int = 1) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def close(self) -> None:
        return None


async def serve(upstream: str, home: Path, *, has_router: bool) -> None:
    # As in a deployment, another process migrates: the tools for it stay out of the gateway's memory.
    environment = {**os.environ, "TANDEM_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "gateway.setup"], env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: ASYNC221 - nothing runs yet
    model = {"url": upstream, "model": "bench"}
    settings = Settings.model_validate({"home": home, "fast": model, "slow": model, "gateway": {"max_queued_jobs": 1_000_000}})
    real = open_dependencies(settings)
    dependencies = replace(real, queue=NoHints(), notifier=MemoryNotifier())
    if not has_router:
        dependencies = replace(dependencies, classifier=NoClassifier())
    key_id = dependencies.ids.key()
    token, secret = new_token(key_id)
    await dependencies.storage.keys.add(key_id, DEFAULT_TENANT, "bench", ALL_SCOPES, digest(dependencies.pepper, secret))
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(json.dumps({"port": listener.getsockname()[1], "token": token}), flush=True)
    gateway = create_app(settings, dependencies)
    await uvicorn.Server(server_config(gateway, settings)).serve(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--no-router", action="store_true")
    asked = parser.parse_args()
    configure_logging(LogSettings(), "gateway", stream=sys.stderr)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(asked.upstream, asked.home, has_router=not asked.no_router))


if __name__ == "__main__":
    main()
