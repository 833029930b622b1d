"""``tandem keys``: API keys, directly in the database."""

import asyncio
from typing import Annotated, Final

from pydantic import ValidationError
from typer import Argument, BadParameter, Option, Typer

from tandem.cli.console import note, say, table
from tandem.cli.keyring import create_key
from tandem.cli.session import ids, open_database
from tandem.ids import DEFAULT_TENANT, KeyId, TenantId
from tandem.schemas.keys import DEFAULT_SCOPES, ApiKey, KeyCreate
from tandem.settings import Settings

_SCOPE_HELP: Final = (
    f"What it may do; repeat for several. Default: {', '.join(DEFAULT_SCOPES)}. 'tools' adds all tools that reach out, read or write; "
    "'tools:web_fetch' or 'tools:web_*' adds some of them."
)


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False, help="Create, list and revoke API keys.", no_args_is_help=True)
    app.command("create")(create)
    app.command("list")(list_keys)
    app.command("revoke")(revoke)
    return app


def create(
    name: Annotated[str, Option(help="What the key is for.")],
    tenant: Annotated[str, Option(help="Whose rows it sees.")] = DEFAULT_TENANT,
    scope: Annotated[list[str] | None, Option(help=_SCOPE_HELP)] = None,
) -> None:
    """Make a key and print it, this once, alone on the last line."""
    try:
        asked = KeyCreate.model_validate({"name": name, "scopes": scope or DEFAULT_SCOPES})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise BadParameter(
            f"--{'scope' if 'scopes' in fault['loc'] else 'name'} {fault['input']!r}: {fault['msg'].removeprefix('Value error, ')}"
        ) from None
    key, token = asyncio.run(_create(Settings.load(), asked, TenantId(tenant)))
    note(f"created {key.id} {key.name!r} for tenant {key.tenant!r}, scopes {', '.join(key.scopes)}; keep the key below, it is not shown again")
    say(token)


def list_keys() -> None:
    """List all keys, oldest first, revoked ones included."""
    keys = asyncio.run(_list(Settings.load()))
    rows = [("ID", "NAME", "TENANT", "SCOPES", "CREATED", "REVOKED")]
    rows += [
        (key.id, key.name, key.tenant, ",".join(key.scopes), _day(key), f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "") for key in keys
    ]
    say("\n".join(table(rows)))


def revoke(key_id: Annotated[str, Argument(metavar="ID", help="Id from `tandem keys list`.")]) -> None:
    """Revoke a key; gateways refuse it within seconds."""
    settings = Settings.load()
    key = asyncio.run(_revoke(settings, KeyId(key_id)))
    say(f"revoked {key.id} {key.name!r}; gateways refuse it within {settings.gateway.key_cache_s:g} s")


async def _create(settings: Settings, asked: KeyCreate, tenant: TenantId) -> tuple[ApiKey, str]:
    async with open_database(settings) as storage:
        return await create_key(storage.keys, settings, ids(), name=asked.name, tenant=tenant, scopes=asked.scopes)


async def _list(settings: Settings) -> list[ApiKey]:
    async with open_database(settings) as storage:
        return list(await storage.keys.list())


async def _revoke(settings: Settings, key_id: KeyId) -> ApiKey:
    async with open_database(settings) as storage:
        return await storage.keys.revoke(key_id)


def _day(key: ApiKey) -> str:
    return f"{key.created_at:%Y-%m-%d %H:%M}"
