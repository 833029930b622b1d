"""vLLM's router in Rust as a peer: a proxy without authentication, routing by content, or logged decisions."""

from pathlib import Path

from bench.rig.installed import CACHE, install, outside_environment
from bench.rig.processes import Peer

VERSION = "0.1.17"
EXECUTABLE = CACHE / "vllm-router" / "bin" / "vllm-router"
READY_PATH = "/health"


def start(upstream: str, folder: Path, port: int, metrics_port: int, core: int | None) -> Peer:
    """One worker address, no choice to make, no retries. Raises ``PeerMissing``."""
    install(EXECUTABLE, [f"vllm-router=={VERSION}"])
    address = ["--worker-urls", upstream.removesuffix("/v1"), "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics_port)]
    command = [str(EXECUTABLE), *address, "--policy", "round_robin", "--log-level", "error", "--disable-retries"]
    return Peer("vllm-router", command, outside_environment(), core, folder / "vllm-router.log")
