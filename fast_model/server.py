"""``python -m fast_model.server --role fast|slow``: serves a lane's catalogue model on loopback, as an OpenAI-compatible HTTP server.

Fetches and verifies the file first, with progress on standard error, then answers ``/v1/chat/completions``, ``/v1/models`` and ``/health``. The same
program serves both lanes; the slow one gives way to the fast one. Exit codes: 0 stopped by a signal, 69 something outside is missing (model file,
port), 78 settings or installation must change. SIGTERM and SIGINT stop it at once: replies under way break off.
"""

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Final, Literal, NoReturn

from fast_model.backends.llama_cpp import LOOPBACK, LlamaCppServer, ServeOptions, load_library
from fast_model.priority import give_way
from tandem.errors import DependencyMissing, OperatorError, ProcessFailed, SettingsInvalid
from tandem.models import LineProgress, fetch_model, find_model, served_name
from tandem.settings import LogSettings, ModelSettings, Settings
from tandem.telemetry.logging import configure_logging, get_logger

EXIT_UNAVAILABLE: Final = 69
EXIT_SETTINGS: Final = 78

_log = get_logger("fast_model.server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    options = _read_arguments(arguments)
    configure_logging(LogSettings(), process=f"{options.role}_model")  # until the settings are read
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        serve(options.role, name=options.model, port=options.port)
    except KeyboardInterrupt:  # while the file was being fetched
        return 0
    except OperatorError as error:
        _log.error("model_server_failed", role=options.role, code=error.code, reason=error.message)
        return EXIT_SETTINGS if isinstance(error, SettingsInvalid | DependencyMissing) else EXIT_UNAVAILABLE


def serve(role: Literal["fast", "slow"], *, name: str | None = None, port: int | None = None) -> NoReturn:
    """Serve the lane until ``KeyboardInterrupt``, then end the process; ``name`` and ``port`` win over the settings. Raises like ``start_server``."""
    started_s = time.monotonic()
    settings = Settings.load()
    configure_logging(settings.log, process=f"{role}_model")
    server = start_server(settings, role, name=name, port=port)
    _log.info("model_server_ready", role=role, model=server.name, address=server.address, seconds=round(time.monotonic() - started_s, 2))
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    _log.info("model_server_stopped", role=role)
    sys.stderr.flush()
    os._exit(0)  # dropping the server would wait for its slowest client; it has nothing to save


def start_server(settings: Settings, role: Literal["fast", "slow"], *, name: str | None = None, port: int | None = None) -> LlamaCppServer:
    """Fetch, verify and serve the lane's model; ``name`` and ``port`` win over the settings.

    Raises:
        OperatorError: The settings, the installation, the file or the port must be looked at.
    """
    section = settings.fast if role == "fast" else settings.slow
    name = name or served_name(settings, role)
    port = section.port if port is None else port
    _check_context(section, name, role)
    load_library()
    _check_port(port, role)
    path = fetch_model(name, settings, LineProgress(sys.stderr))
    server = LlamaCppServer(
        ServeOptions(
            path=path,
            name=name,
            port=port,
            slots=section.slots,
            context_tokens=section.context_tokens,
            threads=section.threads,
            keeps_polling=section.niceness == 0,
            api_key=section.api_key.get_secret_value() if section.api_key else None,
            is_verbose=settings.log.level == "debug",
        )
    )
    give_way(section.niceness)  # not before: on a busy machine the loading would starve
    return server


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fast_model.server", description="Serve a lane's model on loopback.")
    parser.add_argument("--role", choices=["fast", "slow"], required=True)
    parser.add_argument("--model", help="catalogue name; default: the lane's setting")
    parser.add_argument("--port", type=_port, help="loopback port, 0 for any; default: the lane's setting")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is not a port; use 0 to 65535")
    return port


def _check_context(section: ModelSettings, name: str, role: str) -> None:
    trained = find_model(name).context_tokens
    if section.context_tokens > trained:
        variable = f"TANDEM_{role.upper()}_CONTEXT_TOKENS"
        raise SettingsInvalid(f"{variable} is {section.context_tokens:,}, but {name!r} was trained for {trained:,}; lower it or choose another model")


def _check_port(port: int, role: str) -> None:
    """Say so before a long download, not after it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ProcessFailed(f"cannot listen on {LOOPBACK}:{port}: {error.strerror}; set TANDEM_{role.upper()}_PORT to a free port") from error


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
