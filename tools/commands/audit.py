"""``tandem tools audit``: a tenant's audit log as JSON lines, and whether its chain of hashes holds."""

import asyncio
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from typer import Exit, Option, Typer

from tandem.cli.console import note, say, table
from tandem.cli.session import open_database
from tandem.errors import InvalidRequest
from tandem.ids import DEFAULT_TENANT, TenantId
from tandem.schemas.audit import AuditVerdict
from tandem.settings import Settings
from tandem.storage.audit_export import verify_export, write_export

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
    """Write a log as JSON lines, oldest first, each record as it was written. The head that is told is worth keeping elsewhere.

    A log that does not hold is written whole all the same; then it exits 1.
    """
    verdict = asyncio.run(_export(Settings.load(), TenantId(tenant), out))
    note(f"{verdict.checked} records of {tenant!r}; head {verdict.head}" if verdict.head else f"the tenant {tenant!r} has no audit log")
    if not verdict.is_intact:
        note(f"BROKEN: {verdict.reason}")
        raise Exit(1)


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
    """Whether an exported log is whole. Raises ``InvalidRequest`` for what is none, naming file and line."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        try:
            return verify_export(lines, kept_head=head)
        except InvalidRequest as error:
            raise InvalidRequest(f"{str(path)!r}: {error.message}") from None


async def _export(settings: Settings, tenant: TenantId, out: Path | None) -> AuditVerdict:
    async with open_database(settings) as storage:
        with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as sink:
            return await write_export(storage.audit, tenant, sink, datetime.now(UTC))


async def _verify(settings: Settings, tenant: str | None, head: str | None) -> dict[str, AuditVerdict]:
    async with open_database(settings) as storage:
        tenants = await storage.audit.tenants() if tenant is None else [TenantId(tenant)]
        return {each: await storage.audit.verify(each, kept_head=head) for each in tenants}
