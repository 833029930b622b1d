"""``tandem tools audit``: a tenant's audit log as JSON lines, and whether its chain of hashes holds."""

import asyncio
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, cast

from typer import Exit, Option, Typer

from tandem.cli.console import note, say, table
from tandem.cli.session import open_database
from tandem.errors import InvalidRequest
from tandem.ids import DEFAULT_TENANT, TenantId
from tandem.schemas.audit import AuditVerdict
from tandem.schemas.base import JsonObject
from tandem.settings import Settings
from tandem.storage.audit_chain import ChainReading

TenantName = Annotated[str | None, Option("--tenant", help="Whose log; without it every tenant's.")]
KeptHead = Annotated[str | None, Option("--head", metavar="HASH", help="A head that was kept elsewhere: shows a log that was cut or written anew.")]


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False, help="Export or verify a tenant's audit log.", no_args_is_help=True)
    app.command("export")(export)
    app.command("verify")(verify)
    return app


def export(
    tenant: Annotated[str, Option(help="Whose log.")] = DEFAULT_TENANT,
    out: Annotated[Path | None, Option(help="File to write; without it standard output.")] = None,
) -> None:
    """Write a log as JSON lines, oldest first, each record as it was written. The head that is told is worth keeping elsewhere."""
    count, head = asyncio.run(_export(Settings.load(), TenantId(tenant), out))
    note(f"{count} records of {tenant!r}; head {head}" if head else f"the tenant {tenant!r} has no audit log")


def verify(
    tenant: TenantName = None,
    head: KeptHead = None,
    file: Annotated[Path | None, Option(help="An exported log to verify instead; needs no database.")] = None,
) -> None:
    """Compute every hash anew; exits 1 when a record was changed, removed, put in or moved."""
    if head is not None and file is None and tenant is None:
        raise InvalidRequest("--head is of one tenant's log; say whose with --tenant")
    found = {str(file): read_export(file, head)} if file is not None else asyncio.run(_verify(Settings.load(), tenant, head))
    rows = [("LOG", "STATE", "RECORDS", "HEAD")]
    rows += [(name, "intact" if each.is_intact else f"BROKEN: {each.reason}", str(each.checked), each.head or "") for name, each in found.items()]
    say("\n".join(table(rows)))
    if not all(each.is_intact for each in found.values()):
        raise Exit(1)


def read_export(path: Path, head: str | None = None) -> AuditVerdict:
    """Whether an exported log is whole. Raises ``InvalidRequest`` for what is none, naming the line."""
    reading = ChainReading(head)
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = cast("JsonObject", json.loads(line))
                reading.read(record)
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidRequest(f"line {number} of {str(path)!r} is no record of an audit log ({error}); export it anew") from None
            if reading.is_broken:
                break
    return reading.verdict()


async def _export(settings: Settings, tenant: TenantId, out: Path | None) -> tuple[int, str | None]:
    count, head = 0, None
    async with open_database(settings) as storage:
        with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as sink:
            async for record in storage.audit.export(tenant):
                sink.write(json.dumps(record, ensure_ascii=False) + "\n")
                count, head = count + 1, str(record["hash"])
    return count, head


async def _verify(settings: Settings, tenant: str | None, head: str | None) -> dict[str, AuditVerdict]:
    async with open_database(settings) as storage:
        tenants = await storage.audit.tenants() if tenant is None else [TenantId(tenant)]
        return {each: await storage.audit.verify(each, kept_head=head) for each in tenants}
