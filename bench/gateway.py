"""``python -m bench.gateway [--seconds S] [--rounds N] [--no-peer]``: what the gateway adds, beside LiteLLM's proxy and vllm-router in the same run.

Gateways run on one core, the model server and the generator on the other. Rounds are interleaved (direct, then each gateway, again and again), so
that a noisy moment hits all alike. Ratios travel between machines, milliseconds do not; a run whose direct rounds scatter is to be repeated.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.rig import litellm_peer, vllm_router_peer
from bench.rig.installed import PeerMissing
from bench.rig.load import Sample, Shape, Target, run_round
from bench.rig.model_server import start_model_server
from bench.rig.processes import Peer
from tandem.testing.ports import free_ports

GATEWAY_CORE, LOAD_CORE = 0, 1
DIRECT, FULL, BARE, LITELLM, VLLM_ROUTER = "direct", "Tandem", "Tandem, no router", "LiteLLM", "vllm-router"
CHAT_PATH = "/v1/chat/completions"
SCENARIOS: dict[str, tuple[Shape, int]] = {
    "c1": (Shape(is_stream=False), 1),
    "c16": (Shape(is_stream=False), 16),
    "stream c16": (Shape(is_stream=True, tokens=32), 16),
    "paced c32": (Shape(is_stream=True, tokens=32, first_ms=20, gap_ms=10), 32),
}


@dataclass
class Result:
    """One gateway in one scenario over all rounds."""

    samples: list[Sample] = field(default_factory=list[Sample])
    cpu_s: float = 0.0

    def best_rate(self) -> float:
        return max((sample.rate for sample in self.samples), default=0.0)

    def tokens_rate(self) -> float:
        return max((sample.tokens / sample.seconds for sample in self.samples), default=0.0)

    def requests(self) -> int:
        return sum(sample.requests for sample in self.samples)

    def errors(self) -> int:
        return sum(sample.errors for sample in self.samples)

    def cpu_ms(self) -> float:
        return 1000 * self.cpu_s / max(1, self.requests())

    def cpu_us_per_token(self) -> float:
        return 1e6 * self.cpu_s / max(1, sum(sample.tokens for sample in self.samples))

    def best_ms(self, pick: Callable[[Sample], Sequence[float]], percent: int) -> float:
        """The percentile of the calmest round, in milliseconds."""
        return 1000 * min((percentile(pick(sample), percent) for sample in self.samples if pick(sample)), default=float("nan"))


@dataclass(frozen=True)
class Contender:
    """Something that answers chat requests."""

    name: str
    target: Target
    peer: Peer | None = None


Results = dict[tuple[str, str], Result]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true", help="leave LiteLLM and vllm-router out")
    asked = parser.parse_args(arguments)
    os.sched_setaffinity(0, {LOAD_CORE % (os.cpu_count() or 1)})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, tempfile.TemporaryDirectory() as folder:
        return runner.run(measure(Path(folder), asked.seconds, asked.rounds, with_peer=not asked.no_peer))


async def measure(folder: Path, seconds: float, rounds: int, *, with_peer: bool) -> int:
    server, upstream = await start_model_server()
    direct = Contender(DIRECT, Target("127.0.0.1", server.sockets[0].getsockname()[1], CHAT_PATH, "none", "bench"))
    contenders = [direct]
    try:
        contenders += [await asyncio.to_thread(start_tandem, upstream, folder, name) for name in (FULL, BARE)]
        if with_peer:
            contenders += await asyncio.to_thread(start_peers, upstream, folder)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {rounds} rounds of {seconds:g} s", flush=True)
        results = await run_all(contenders, seconds, rounds)
        jobs = await submit_jobs(contenders[1], seconds)
        print_results(contenders, results)
        return print_floors(contenders, results, jobs)
    finally:
        for contender in contenders:
            if contender.peer:
                await asyncio.to_thread(contender.peer.stop)
        server.close()


def start_tandem(upstream: str, folder: Path, name: str) -> Contender:
    home = folder / name.replace(" ", "-").replace(",", "")
    home.mkdir()
    command = [sys.executable, "-m", "bench.rig.tandem_server", "--upstream", upstream, "--home", str(home)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TANDEM_") and key != "PYTHONDONTWRITEBYTECODE"}
    extra = ["--no-router"] if name == BARE else []
    peer = Peer(name, [*command, *extra], environment, GATEWAY_CORE, home / "log")
    said: dict[str, object] = json.loads(peer.first_line())
    port = int(str(said["port"]))
    peer.wait_until_up(f"http://127.0.0.1:{port}/healthz", 30)
    return Contender(name, Target("127.0.0.1", port, CHAT_PATH, str(said["token"]), "auto"), peer)


def start_peers(upstream: str, folder: Path) -> list[Contender]:
    """LiteLLM and vllm-router; one that is not to be had is left out, with a line that says why."""
    ports = free_ports(3)
    peers: list[Contender] = []
    starts: list[tuple[str, int, Callable[[], Peer], str, Target]] = [
        (
            LITELLM,
            ports[0],
            lambda: litellm_peer.start(upstream, folder, ports[0], GATEWAY_CORE),
            litellm_peer.READY_PATH,
            Target("127.0.0.1", ports[0], CHAT_PATH, litellm_peer.KEY, "auto"),
        ),
        (
            VLLM_ROUTER,
            ports[1],
            lambda: vllm_router_peer.start(upstream, folder, ports[1], ports[2], GATEWAY_CORE),
            vllm_router_peer.READY_PATH,
            Target("127.0.0.1", ports[1], CHAT_PATH, "none", "bench"),
        ),
    ]
    for name, port, start, ready_path, target in starts:
        try:
            peer = start()
            peer.wait_until_up(f"http://127.0.0.1:{port}{ready_path}", 180)
        except (PeerMissing, RuntimeError) as error:
            print(f"{name} is left out: {error}")
        else:
            peers.append(Contender(name, target, peer))
    return peers


async def run_all(contenders: Sequence[Contender], seconds: float, rounds: int) -> Results:
    results: Results = {(contender.name, scenario): Result() for contender in contenders for scenario in SCENARIOS}
    for contender in contenders:  # warm up: code paths, connections, caches
        await run_round(contender.target, Shape(is_stream=True, tokens=4), 4, 0.5)
        await run_round(contender.target, Shape(is_stream=False), 4, 0.5)
    for scenario, (shape, in_flight) in SCENARIOS.items():
        own_cpu, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(rounds):
            for contender in contenders:
                before = contender.peer.cpu_s() if contender.peer else 0.0
                sample = await run_round(contender.target, shape, in_flight, seconds)
                result = results[contender.name, scenario]
                result.samples.append(sample)
                result.cpu_s += contender.peer.cpu_s() - before if contender.peer else 0.0
        used = resource.getrusage(resource.RUSAGE_SELF)
        share = (used.ru_utime + used.ru_stime - own_cpu.ru_utime - own_cpu.ru_stime) / (time.perf_counter() - began)
        print(f"{scenario}: generator and model server used {share:.0%} of their core" + (" (bound by the rig)" if share > 0.85 else ""), flush=True)
    return results


async def submit_jobs(contender: Contender, seconds: float) -> tuple[float, list[float]]:
    """Jobs accepted a second and seconds from POST to 202, 16 at a time, SQLite with full durability."""
    body = b'{"input":"add 2 and 2","effort":"low"}'
    head = f"POST /v1/jobs HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {contender.target.token}\r\ncontent-type: application/json\r\n"
    request = head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
    took: list[float] = []
    deadline = time.perf_counter() + seconds

    async def worker() -> None:
        reader, writer = await asyncio.open_connection(contender.target.host, contender.target.port)
        while (started := time.perf_counter()) < deadline:
            writer.write(request)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(length)
            if not answer.startswith(b"http/1.1 202"):
                raise RuntimeError(f"a job was refused: {answer[:200]!r}")
            took.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(worker() for _ in range(16)))
    return len(took) / seconds, took


def print_results(contenders: Sequence[Contender], results: Results) -> None:
    print(
        f"\n{'':<18}{'req/s c1':>10}{'req/s c16':>11}{'p50 c1 ms':>11}{'p99':>7}{'CPU ms c16':>12}{'tok/s c16':>11}{'CPU us/tok':>12}"
        f"{'TTFT c32 p50':>14}{'p99':>8}{'delay p50':>11}{'RSS MB':>8}{'start s':>9}{'errors':>8}"
    )
    for contender in contenders:
        c1, c16, stream, paced = (results[contender.name, scenario] for scenario in SCENARIOS)
        rss, start = (contender.peer.rss_mb(), contender.peer.start_s) if contender.peer else (0.0, 0.0)
        print(
            f"{contender.name:<18}{c1.best_rate():>10.0f}{c16.best_rate():>11.0f}{c1.best_ms(latency, 50):>11.3f}{c1.best_ms(latency, 99):>7.2f}"
            f"{c16.cpu_ms():>12.3f}{stream.tokens_rate():>11.0f}{stream.cpu_us_per_token():>12.1f}{paced.best_ms(ttft, 50):>14.2f}"
            f"{paced.best_ms(ttft, 99):>8.2f}{paced.best_ms(delay, 50):>11.2f}{rss:>8.0f}{start:>9.1f}"
            f"{sum(result.errors() for result in (c1, c16, stream, paced)):>8}"
        )


def print_floors(contenders: Sequence[Contender], results: Results, jobs: tuple[float, list[float]]) -> int:
    """The floors of the project's performance note, each as kept or broken. Returns 1 when one is broken."""

    def added(name: str, scenario: str, pick: Callable[[Sample], Sequence[float]], percent: int) -> float:
        return results[name, scenario].best_ms(pick, percent) - results[DIRECT, scenario].best_ms(pick, percent)

    bare_c16, bare_stream = results[BARE, "c16"], results[BARE, "stream c16"]
    peer = next(contender.peer for contender in contenders if contender.name == FULL and contender.peer)
    rows: list[tuple[str, float, float, bool]] = [
        ("added p50 at c1 without router, ms", added(BARE, "c1", latency, 50), 1.0, False),
        ("added TTFT p50 at c32, ms", added(FULL, "paced c32", ttft, 50), 3.0, False),
        ("added TTFT p99 at c32, ms", added(FULL, "paced c32", ttft, 99), 15.0, False),
        (
            "token delay p50, gateway / direct",
            results[FULL, "paced c32"].best_ms(delay, 50) / results[DIRECT, "paced c32"].best_ms(delay, 50),
            2.0,
            False,
        ),
        ("tokens/s at c16, gateway / direct", results[FULL, "stream c16"].tokens_rate() / results[DIRECT, "stream c16"].tokens_rate(), 0.5, True),
        ("CPU per request without router, ms", bare_c16.cpu_ms(), 0.5, False),
        ("CPU per streamed token, us", bare_stream.cpu_us_per_token(), 40.0, False),
        ("RSS after load, MB", peer.rss_mb(), 120.0, False),
        ("start to first 200, s", peer.start_s, 3.0, False),
    ]
    if any(contender.name == LITELLM for contender in contenders):
        rows += [
            ("req/s at c16 against LiteLLM", results[FULL, "c16"].best_rate() / results[LITELLM, "c16"].best_rate(), 10.0, True),
            ("added p50 at c1 against LiteLLM", added(FULL, "c1", latency, 50) / added(LITELLM, "c1", latency, 50), 1 / 6, False),
        ]
    if any(contender.name == VLLM_ROUTER for contender in contenders):
        rows.append(("req/s at c16 without router, share of vllm-router", bare_c16.best_rate() / results[VLLM_ROUTER, "c16"].best_rate(), 0.2, True))
    print(f"\n{'floor':<50}{'measured':>10}{'floor':>10}")
    for name, value, floor, is_least in rows:
        is_kept = value >= floor if is_least else value <= floor
        print(f"{name:<50}{value:>10.3f}{floor:>10.3f}  {'kept' if is_kept else 'BROKEN'}")
    rate, took = jobs
    print(f"{'jobs accepted a second, with commit':<50}{rate:>10.0f}      (information)")
    print(f"{'POST to 202 at c16 p50/p99, ms':<50}{1000 * percentile(took, 50):>10.1f}{1000 * percentile(took, 99):>10.1f}  (information)")
    return int(any((value < floor) if is_least else (value > floor) for _, value, floor, is_least in rows))


def latency(sample: Sample) -> Sequence[float]:
    return sample.latency_s


def ttft(sample: Sample) -> Sequence[float]:
    return sample.ttft_s


def delay(sample: Sample) -> Sequence[float]:
    return sample.token_delay_s


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0] if values else float("nan")


if __name__ == "__main__":
    sys.exit(main())
