"""LiteLLM's proxy as the peer: installed on demand into an environment of its own under ``.venv/cache``, never into ours."""

import os
import subprocess
import sys
from pathlib import Path

from bench.rig.processes import Peer

VERSION = "1.106.2"
ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv" / "cache" / "litellm"
KEY = "sk-bench"
# Its proxy extra alone lacks opentelemetry and retries the failing import on every request; httptools is what uvicorn needs to be fast.
PACKAGES = (f"litellm[proxy]=={VERSION}", "opentelemetry-api", "opentelemetry-sdk", "httptools")


class PeerMissing(Exception):
    """The peer cannot be installed or started here; the message says why."""


def install() -> None:
    """Raises ``PeerMissing``."""
    if (HOME / "bin" / "litellm").exists():
        return
    uv = ROOT / ".venv" / "bin" / "uv"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    python = str(HOME / "bin" / "python")
    commands = (
        [str(uv), "venv", "--quiet", "--clear", str(HOME), "--python", sys.executable],
        [str(uv), "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *PACKAGES],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise PeerMissing(f"litellm {VERSION} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


def start(upstream: str, folder: Path, port: int, core: int | None) -> Peer:
    """One worker, authentication by its master key, everything else at its defaults."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: auto\n"
        "    litellm_params:\n"
        "      model: openai/bench\n"
        f"      api_base: {upstream}\n"
        "      api_key: none\n"
        f"general_settings:\n  master_key: {KEY}\n",
        encoding="utf-8",
    )
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
    environment = kept | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    command = [
        str(HOME / "bin" / "litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
        "--telemetry",
        "False",
    ]
    return Peer("LiteLLM", command, environment, core, folder / "litellm.log")
