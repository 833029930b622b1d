"""``python -m bench.tools [--rounds N]``: seconds that one call of each tool takes, through the policies that every call has, in this process.

A tool that this machine does not offer is listed with its reason. Nothing else should run on the machine; ``best`` says most where something does.
``cpu`` is this process's own, which is what a call costs the worker beside the sandbox.
"""

import argparse
import asyncio
import json
import resource
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from tandem.egress import GuardedClient
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.settings import Settings
from tandem.testing.documents import pdf_of
from tandem.testing.ports import free_ports
from tandem.testing.shelves import MemoryShelf
from tandem.testing.web import Page, Site, pages_served_aside
from tools.offers import Supplies
from tools.registry import Toolbox, offered_tools

CSV = "月份,sales\n" + "".join(f"2026-{month:02},{month * month}\n" for month in range(1, 13))
TEXT = "\n\n".join(f"Paragraph {number} of the handbook says how refunds, 退款 and deliveries of item {number} work." for number in range(400))
PDF = pdf_of([f"Page {page} of the handbook: the refund period is {page} days." for page in range(1, 11)])
BODY = "".join(f"<p>{each}</p>" for each in TEXT.split("\n\n"))
PAGE = f"<html><head><title>Handbook</title></head><body><article><h1>Handbook</h1>{BODY}</article></body></html>"
PLOT = "import matplotlib.pyplot as plt\nplt.plot(range(10))\nplt.title('销量')\n1"


@dataclass(frozen=True, slots=True)
class Case:
    """One call, made many times."""

    tool: str
    title: str
    arguments: Mapping[str, JsonValue]
    share: float = 1.0
    """Of the rounds: calls that take long are made less often."""


CASES = [
    Case("python", "1 + 1", {"code": "1 + 1"}, 5.0),
    Case("python", "sum of primes below 5000", {"code": "sum(n for n in range(2, 5000) if all(n % d for d in range(2, int(n ** 0.5) + 1)))"}),
    Case("python", "reads a CSV of the job", {"code": "import csv\nlen(list(csv.DictReader(open('sales.csv'))))", "files": ["sales.csv"]}),
    Case("python_full", "start and print", {"code": "print('hi')"}),
    Case("python_full", "NumPy", {"code": "import numpy as np\nnp.arange(9).reshape(3, 3) @ np.eye(3)"}, 0.5),
    Case("python_full", "pandas over a CSV", {"code": "import pandas as pd\npd.read_csv('sales.csv')['sales'].sum()", "files": ["sales.csv"]}, 0.3),
    Case("python_full", "SymPy", {"code": "import sympy as s\nx = s.Symbol('x')\ns.integrate(x ** 2, x)"}, 0.3),
    Case("python_full", "Matplotlib plot", {"code": PLOT}, 0.2),
    Case("calculator", "units", {"expression": "42.195 km / (2 hour + 1 min) in km/h"}),
    Case("datetime", "between zones", {"action": "convert", "when": "2026-12-01 15:00", "zone": "Europe/Berlin", "to_zone": "Asia/Shanghai"}),
    Case("documents", "search a text of 35 kB", {"action": "search", "file": "handbook.txt", "query": "退款 of item 17"}),
    Case("documents", "read a PDF of 10 pages", {"action": "read", "file": "handbook.pdf"}),
    Case("table_query", "sum over a CSV", {"action": "query", "query": "SELECT SUM(sales) FROM sales", "files": ["sales.csv"]}, 0.5),
    Case(
        "sql",
        "join and group in SQLite",
        {"action": "query", "query": "SELECT c.name, SUM(o.amount) FROM o JOIN c ON c.id = o.c GROUP BY c.name"},
        0.5,
    ),
    Case("web_search", "10 hits of SearXNG", {"query": "handbook refunds", "count": 10}),
    Case("web_fetch", "a page of 35 kB", {"url": "{site}/handbook"}),
    Case("http_request", "a small answer", {"url": "{site}/small"}),
    Case("local__echo", "an MCP server over stdio", {"text": "hello"}),
    Case("web__echo", "an MCP server over HTTP", {"text": "hello"}),
]


async def measure(rounds: int) -> int:
    pages = {"/handbook": Page(PAGE), "/small": Page('{"ok": true}', "application/json")}
    with tempfile.TemporaryDirectory() as home, pages_served_aside(pages) as site, mcp_over_http() as mcp_url:
        settings = Settings.load(surroundings(Path(home), site, mcp_url))
        started = time.perf_counter()
        ids = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
        toolbox = await offered_tools(Supplies(settings, GuardedClient(settings.egress), ids))
        print(f"probing and building: {(time.perf_counter() - started) * 1000:.0f} ms\n")
        print("| tool | call | n | first ms | best ms | p50 ms | p95 ms | cpu ms |\n|---|---|--:|--:|--:|--:|--:|--:|")
        try:
            return max([await line(case, toolbox, rounds, site) for case in CASES])
        finally:
            await toolbox.close()


def surroundings(home: Path, site: Site, mcp_url: str) -> dict[str, str]:
    """What an operator would set up: a database, a search, a listed service, two MCP servers."""
    with closing(sqlite3.connect(home / "shop.sqlite3")) as connection:
        connection.executescript("CREATE TABLE c (id INTEGER, name TEXT); CREATE TABLE o (c INTEGER, amount REAL)")
        connection.executemany("INSERT INTO c VALUES (?, ?)", [(number, f"name {number}") for number in range(50)])
        connection.executemany("INSERT INTO o VALUES (?, ?)", [(number % 50, number / 7) for number in range(20_000)])
        connection.commit()
    servers = {
        "local": {"command": sys.executable, "args": ["-m", "tandem.testing.mcp_server"], "env": {"PYTHONPATH": str(Path(__file__).parents[1])}},
        "web": {"type": "http", "url": mcp_url},
    }
    listed = {f"127.0.0.1:{site.port}": {"methods": ["GET"], "private": True}}
    (home / "sql.json").write_text(json.dumps({"databases": {"shop": {"url": f"sqlite:///{home / 'shop.sqlite3'}"}}}), encoding="utf-8")
    (home / "http.json").write_text(json.dumps({"hosts": listed}), encoding="utf-8")
    (home / "mcp.json").write_text(
        json.dumps({"mcpServers": {name: {**server, "tools": ["echo"], "trust_first_use": True} for name, server in servers.items()}}),
        encoding="utf-8",
    )
    return {
        "TANDEM_HOME": str(home),
        "TANDEM_TOOLS_OFFER": ",".join(sorted({case.tool for case in CASES})),
        "TANDEM_TOOLS_SEARCH": "searxng",
        "TANDEM_TOOLS_SEARXNG_URL": site.searxng_url,
        "TANDEM_EGRESS_ALLOW": "127.0.0.1",
    }


@contextmanager
def mcp_over_http() -> Generator[str]:
    """The test server of the SDK as a process of its own; yields its address."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "tandem.testing.mcp_server", "--http", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def wait_for_port(port: int, timeout_s: float = 30.0) -> None:
    until = time.monotonic() + timeout_s
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > until:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.05)


async def line(case: Case, toolbox: Toolbox, rounds: int, site: Site) -> int:
    """Print one row; 1 when a call failed."""
    tool = toolbox.get(case.tool)
    if tool is None:
        reason = next((offer.reason for offer in toolbox.offers if offer.spec.name == case.tool), "not listed")
        print(f"| {case.tool} | {case.title} | 0 | not offered: {reason} | | | | |")
        return 0
    before = processor_s()
    times = [await once(tool, case, site) for _ in range(max(3, int(rounds * case.share)) + 1)]
    if None in times:
        return 1
    spent = (processor_s() - before) * 1000 / len(times)
    first, *warm = [each * 1000 for each in times if each is not None]
    figures = " | ".join(f"{each:.1f}" for each in (first, min(warm), statistics.median(warm), quantile(warm), spent))
    print(f"| {case.tool} | {case.title} | {len(warm)} | {figures} |", flush=True)
    return 0


async def once(tool: Tool, case: Case, site: Site) -> float | None:
    context = ToolContext(TenantId("bench"), JobId("job_bench"), "call", MemoryShelf({"sales.csv": CSV, "handbook.txt": TEXT, "handbook.pdf": PDF}))
    arguments = {name: value.replace("{site}", site.url) if isinstance(value, str) else value for name, value in case.arguments.items()}
    started = time.perf_counter()
    result = await tool.run(arguments, context)
    if not result.ok:
        print(f"{case.tool}, {case.title}: {result.error}", file=sys.stderr)
        return None
    return time.perf_counter() - started


def processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def quantile(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tools", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="calls of a quick tool; slow ones are called less often")
    return asyncio.run(measure(parser.parse_args(arguments).rounds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
