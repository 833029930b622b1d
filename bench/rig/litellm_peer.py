"""LiteLLM's proxy as a peer."""

from pathlib import Path

from bench.rig.installed import CACHE, install, outside_environment
from bench.rig.processes import Peer

VERSION = "1.106.2"
EXECUTABLE = CACHE / "litellm" / "bin" / "litellm"
READY_PATH = "/health/liveliness"
KEY = "sk-bench"
# Its proxy extra alone lacks opentelemetry and retries the failing import on every request; httptools is what uvicorn needs to be fast.
PACKAGES = (f"litellm[proxy]=={VERSION}", "opentelemetry-api", "opentelemetry-sdk", "httptools")


def start(upstream: str, folder: Path, port: int, core: int | None) -> Peer:
    """One worker, authentication by its master key, everything else at its defaults. Raises ``PeerMissing``."""
    install(EXECUTABLE, PACKAGES)
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
    environment = outside_environment() | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    command = [
        str(EXECUTABLE),
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
