"""``python -m gateway``: one process, one event loop, one port. Authentication is always on; there is no switch to turn it off."""

import asyncio
import sys
from types import FrameType
from typing import Final

import uvicorn

from gateway.app import Gateway, create_app
from gateway.dependencies import Dependencies, open_dependencies
from tandem.errors import OperatorError, SettingsInvalid
from tandem.settings import Settings
from tandem.telemetry import configure_logging, get_logger

STOP_GRACE_S: Final = 5
"""Seconds for requests to end after a signal; streams are ended at once."""
KEEP_ALIVE_S: Final = 75
"""Longer than common proxies keep idle connections, so that they, not we, close first."""
_log = get_logger(__name__)


def main() -> int:
    """Serve until a signal. Exit code 1 with one clear line when whoever runs Tandem must act."""
    try:
        settings = Settings.load()
        configure_logging(settings.log, process="gateway")
        dependencies = open_dependencies(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(settings, dependencies))
    except OperatorError as error:
        sys.stderr.write(f"gateway: {error.message}\n")
        return 1
    except KeyboardInterrupt:  # raised again by uvicorn after a clean shutdown
        return 130


class Server(uvicorn.Server):
    """Ends live streams as soon as the process is told to stop, so that they do not use up the grace period."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._running = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._running.call_soon_threadsafe(self._gateway.services.tails.stop)


def server_config(gateway: Gateway, settings: Settings) -> uvicorn.Config:
    """Uvicorn's settings; access lines are ours (records.py)."""
    return uvicorn.Config(
        gateway,
        host=settings.gateway.host,
        port=settings.gateway.port,
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_GRACE_S,
    )


async def _serve(settings: Settings, dependencies: Dependencies) -> int:
    # Before the server exists, so that an unusable database is one clear line and not a failed lifespan.
    await dependencies.storage.migrate()
    gateway = create_app(settings, dependencies)
    server = Server(server_config(gateway, settings), gateway)
    _log.info("gateway_starts", host=settings.gateway.host, port=settings.gateway.port)
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way to say that the port is taken
        raise SettingsInvalid(
            f"cannot listen on {settings.gateway.host}:{settings.gateway.port}; is another gateway running? Set TANDEM_GATEWAY_PORT"
        ) from error
    return 0 if server.started else 1


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not there on Windows

    return uvloop.Loop


if __name__ == "__main__":
    sys.exit(main())
