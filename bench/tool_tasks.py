"""Three tasks that System 2 can only solve with tools, on the real embedded models: a data question with a plot, a comparison of five pages with
citations, and a question to a database. Starts a platform of its own, prints what each job did and whether its answer is right.

``python -m bench tool_tasks`` fetches the models when they are not there; ``TANDEM_MODELS_DIR`` names a folder that has them.
"""

import argparse
import json
import os
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tandem.client import TandemClient
from tandem.schemas.jobs import Job, JobRequest
from tandem.testing.platform import running_platform
from tandem.testing.web import Page, Site, pages_served_aside

REGIONS = ("North", "South", "East", "West")
LAPTOPS = {
    "alder": ("Alder X1", 1.2, 14, 1_099),
    "birch": ("Birch Air", 1.0, 11, 899),
    "cedar": ("Cedar Pro", 1.6, 18, 1_499),
    "dogwood": ("Dogwood Lite", 0.9, 9, 749),
    "elm": ("Elm Studio", 2.1, 8, 1_999),
}


@dataclass(frozen=True)
class Task:
    """What is asked, and what a right answer holds."""

    name: str
    request: JobRequest
    is_right: Callable[[Job], bool]


def sales() -> list[tuple[str, str, int]]:
    """Month, region, revenue: 48 rows, the same in every run."""
    dice = random.Random(7)
    return [(f"2026-{month:02}", region, dice.randrange(800, 2_400)) for month in range(1, 13) for region in REGIONS]


def revenue_by_region() -> dict[str, int]:
    return {region: sum(revenue for _, where, revenue in sales() if where == region) for region in REGIONS}


def pages() -> dict[str, Page]:
    filler = "The maker has built computers for twenty years and sells them in forty countries. Deliveries take about a week. "
    return {
        f"/{key}": Page(
            f"<html><head><title>{name}</title></head><body><nav>Home | Shop | Help</nav><article><h1>{name}</h1><p>{filler * 3}</p>"
            f"<p>The {name} weighs {weight} kg. Its battery lasts {hours} hours in the maker's test. It costs {price:,} dollars.</p>"
            f"<p>{filler * 2}</p></article></body></html>"
        )
        for key, (name, weight, hours, price) in LAPTOPS.items()
    }


def make_orders(path: Path) -> int:
    """A small shop's database; returns what was paid in 2025."""
    dice = random.Random(11)
    customers = ["Amir", "Bea", "Chen", "Dana", "Eli", "Fatou"]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT)")
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, ordered_on TEXT, amount REAL)")
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", [(at, name, "Lyon") for at, name in enumerate(customers, start=1)])
        rows = [(dice.randrange(1, 7), f"{dice.choice((2024, 2025))}-{dice.randrange(1, 13):02}-15", dice.randrange(10, 500)) for _ in range(200)]
        connection.executemany("INSERT INTO orders (customer_id, ordered_on, amount) VALUES (?, ?, ?)", rows)
        connection.commit()
    return sum(amount for _, day, amount in rows if day.startswith("2025"))


def tasks(client: TandemClient, site: Site, paid: int, effort: str) -> Sequence[Task]:
    lines = ["month,region,revenue", *(",".join(map(str, row)) for row in sales())]
    file = client.upload_file("sales.csv", "\n".join(lines).encode())
    totals = revenue_by_region()
    best = max(totals, key=totals.__getitem__)
    addresses = " ".join(f"{site.url}/{key}" for key in LAPTOPS)
    common: dict[str, object] = {"effort": effort}

    def request(text: str, tools: list[str], **more: object) -> JobRequest:
        return JobRequest.model_validate({"input": text, "tools": tools, **common, **more})

    return (
        Task(
            "data and a plot",
            request(
                "Which region has the highest total revenue in the file sales.csv, and how much is it? "
                "Also draw a bar chart of the total revenue per region.",
                ["python_full"],
                files=[file.id],
            ),
            lambda job: (
                best in said(job) and str(totals[best]) in said(job).replace(",", "") and any(a.media_type == "image/png" for a in job.artifacts)
            ),
        ),
        Task(
            "five pages compared",
            request(
                f"Compare the laptops on these pages by weight, battery life and price, and say which one runs longest on its battery: {addresses}",
                ["web_fetch"],
            ),
            lambda job: decides_for("cedar", said(job)) and len({citation.source for citation in job.citations}) >= 4,
        ),
        Task(
            "a question to a database",
            request("How much money was paid in total for the orders made in the year 2025? Use the database shop.", ["sql"]),
            lambda job: str(paid) in said(job).replace(",", ""),
        ),
    )


def decides_for(key: str, text: str) -> bool:
    """Whether the last paragraph names this laptop and no other."""
    last = text.strip().rsplit("\n", 1)[-1]
    return [other for other, (name, *_) in LAPTOPS.items() if name in last] == [key]


def said(job: Job) -> str:
    return job.output_text or ""


def trace(client: TandemClient, job: Job) -> list[str]:
    """The calls, in order, with what came of them."""
    calls = [event for event in client.job_events(job.id) if re.search(r"tool\.(started|completed)$", event.type)]
    return [f"    {event.type.rsplit('.', 1)[1]:9} {json.dumps(event.data, ensure_ascii=False)[:300]}" for event in calls]


def solve(client: TandemClient, task: Task) -> dict[str, object]:
    started = time.monotonic()
    job = client.wait_for_job(client.create_job(task.request).id, timeout_s=1_500)
    seconds = round(time.monotonic() - started, 1)
    is_right = job.status == "completed" and task.is_right(job)
    print(f"\n{task.name}: {'right' if is_right else 'WRONG'}, {job.status}, {seconds} s, {job.usage.calls} calls, {job.usage.tool_calls} tool calls")
    print(*trace(client, job), sep="\n")
    print(f"    answer: {said(job)}")
    print(f"    citations: {[citation.source for citation in job.citations]}")
    print(f"    files: {[artifact.name for artifact in job.artifacts]}; error: {job.error}")
    if job.verification:
        print(f"    {job.verification.level}: {[(check.name, check.passed, check.detail) for check in job.verification.checks]}")
    return {"task": task.name, "is_right": is_right, "seconds": seconds, "job": job.model_dump(mode="json")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", default="high")
    parser.add_argument("--only", type=int, help="number of the one task to do, from 1")
    parser.add_argument("--out", type=Path, help="write the jobs as JSON to this file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-tasks-") as folder, pages_served_aside(pages()) as site:
        home = Path(folder)
        paid = make_orders(home / "shop.sqlite3")
        database = {"url": f"sqlite:///{home / 'shop.sqlite3'}", "description": "customers and their orders"}
        (home / "sql.json").write_text(json.dumps({"databases": {"shop": database}}), encoding="utf-8")
        environ = {"TANDEM_EGRESS_ALLOW": "127.0.0.1"}
        if models := os.environ.get("TANDEM_MODELS_DIR"):
            environ["TANDEM_MODELS_DIR"] = models
        with running_platform(home, "--no-proof", "--no-ui", environ=environ) as platform:
            platform.wait_for("Tandem is ready", timeout_s=1_200)
            with TandemClient(platform.gateway, platform.key) as client:
                todo = tasks(client, site, paid, asked.effort)
                results = [solve(client, task) for at, task in enumerate(todo, start=1) if asked.only in (None, at)]
    if asked.out:
        asked.out.write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    return 0 if all(result["is_right"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
