"""``python -m bench.tools [--rounds N]``: seconds that one call of each tool takes, through the policies that every call has, in this process.

A tool that this machine does not offer is listed with its reason. Nothing else should run on the machine; ``best`` says most where something does.
``cpu`` is this process's own, which is what a call costs the worker beside the sandbox.
"""

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from tandem.egress import GuardedClient
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.settings import Settings
from tandem.testing.shelves import MemoryShelf
from tools.offers import Supplies
from tools.registry import Toolbox, offered_tools

CSV = "月份,sales\n" + "".join(f"2026-{month:02},{month * month}\n" for month in range(1, 13))
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
]


async def measure(rounds: int) -> int:
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load({"TANDEM_HOME": home, "TANDEM_TOOLS_OFFER": ",".join(sorted({case.tool for case in CASES}))})
        started = time.perf_counter()
        ids = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
        toolbox = await offered_tools(Supplies(settings, GuardedClient(settings.egress), ids))
        print(f"probing and building: {(time.perf_counter() - started) * 1000:.0f} ms\n")
        print("| tool | call | n | first ms | best ms | p50 ms | p95 ms | cpu ms |\n|---|---|--:|--:|--:|--:|--:|--:|")
        try:
            return max([await line(case, toolbox, rounds) for case in CASES])
        finally:
            await toolbox.close()


async def line(case: Case, toolbox: Toolbox, rounds: int) -> int:
    """Print one row; 1 when a call failed."""
    tool = toolbox.get(case.tool)
    if tool is None:
        reason = next((offer.reason for offer in toolbox.offers if offer.spec.name == case.tool), "not listed")
        print(f"| {case.tool} | {case.title} | 0 | not offered: {reason} | | | | |")
        return 0
    before = processor_s()
    times = [await once(tool, case) for _ in range(max(3, int(rounds * case.share)) + 1)]
    if None in times:
        return 1
    spent = (processor_s() - before) * 1000 / len(times)
    first, *warm = [each * 1000 for each in times if each is not None]
    figures = " | ".join(f"{each:.1f}" for each in (first, min(warm), statistics.median(warm), quantile(warm), spent))
    print(f"| {case.tool} | {case.title} | {len(warm)} | {figures} |", flush=True)
    return 0


async def once(tool: Tool, case: Case) -> float | None:
    context = ToolContext(TenantId("bench"), JobId("job_bench"), "call", MemoryShelf({"sales.csv": CSV.encode()}))
    started = time.perf_counter()
    result = await tool.run(case.arguments, context)
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
