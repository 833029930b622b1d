"""``tandem audit``: whether the database keeps its promises, rule by rule; changes nothing and may run beside the platform."""

import asyncio
import json
from collections import Counter
from typing import Annotated, Final

from typer import Exit, Option, Typer

from tandem.cli.console import say, table, toned
from tandem.settings import Settings
from tandem.storage.invariants import MOST, Audit, audit

_EXAMPLES: Final = 3
"""Violations shown per rule."""


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("audit")(audit_database)
    return app


def audit_database(
    database_url: Annotated[str | None, Option("--database-url", metavar="URL", help="Another database than the configured one.")] = None,
    as_json: Annotated[bool, Option("--json", help="One JSON object with every violation.")] = False,
) -> None:
    """Check every job, log, ledger and delivery in the database; exits 1 when a rule is broken."""
    found = asyncio.run(audit(Settings.load().database_url if database_url is None else database_url))
    say(_json(found) if as_json else "\n".join(_lines(found)))
    if found.violations:
        raise Exit(1)


def _json(found: Audit) -> str:
    violations = [{"check": each.check, "meaning": each.meaning, "subject": each.subject, "detail": each.detail} for each in found.violations]
    return json.dumps({"object": "audit", "checks": dict(found.checks), "violations": violations, "counts": dict(found.counts)})


def _lines(found: Audit) -> list[str]:
    broken = Counter(each.check for each in found.violations)
    rules = table([(_count(broken[name]), name, meaning) for name, meaning in found.checks.items()])
    lines = [toned(rule, "bad") if broken[name] else rule for rule, name in zip(rules, found.checks, strict=True)]
    for name in broken:
        examples = [each for each in found.violations if each.check == name][:_EXAMPLES]
        lines += ["", f"{name}:", *(f"  {each.subject}: {each.detail}" for each in examples)]
        if broken[name] > _EXAMPLES:
            lines.append(f"  and {broken[name] - _EXAMPLES} more; --json shows them")
    lines += ["", *table([(str(count), name) for name, count in found.counts.items()]), ""]
    return [*lines, f"{len(found.checks)} rules, {len(broken)} broken"]


def _count(violations: int) -> str:
    return "ok" if violations == 0 else f"{violations}{'+' if violations >= MOST else ''}"
