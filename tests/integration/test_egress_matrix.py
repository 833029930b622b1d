"""The egress matrix over every feature that reaches out, each through its real entry point.

Two kinds of features: those whose address a caller, a model or a page chooses, which reach nothing but the public web; and those whose server the
operator named, which reach that server's own origin, in a private network too, and nothing else.
"""

import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import httpx
import pytest
from pydantic import ValidationError

from gateway.delivery import Courier, Keyring
from tandem.egress import GuardedClient, check_target
from tandem.egress.addresses import is_private
from tandem.egress.judgement import Origin, origin_of
from tandem.errors import EgressDenied, TandemError
from tandem.ids import DeliveryId, IdFactory, JobId, TenantId
from tandem.ports import Delivery, ToolContext
from tandem.schemas.base import JsonObject
from tandem.settings import EgressSettings, Settings, ToolSettings
from tandem.telemetry.clock import SystemClock
from tandem.testing.egress_matrix import PUBLIC, ROWS, START, AnsweringBackend, MatrixResolver, Row, leaks, leaks_by_redirect, matrix_client
from tools.documents.meaning import Meaning, MeaningUnavailable
from tools.http_request import offer as offer_http
from tools.mcp.pins import Pins
from tools.mcp.provider import open_link
from tools.mcp.servers import Address, McpServer
from tools.offers import Offer, Supplies
from tools.sandbox.limits import Limits
from tools.sandbox.piston import PistonSandbox
from tools.web.fetch import offer as offer_fetch
from tools.web.search import offer as offer_search

Scheme = Literal["http", "https"]
Feature = Callable[[GuardedClient, str, Path], Awaitable[object]]
CONTEXT: Final = ToolContext(TenantId("ten_1"), JobId("job_1"), "call_1")


def supplies(client: GuardedClient, home: Path, **tools: object) -> Supplies:
    settings = Settings(home=home, tools=ToolSettings.model_validate(tools))
    return Supplies(settings, client, IdFactory(now_ms=lambda: time.time_ns() // 1_000_000))


async def run(offer: Offer, arguments: JsonObject) -> None:
    assert offer.tool is not None
    try:
        await offer.tool.run(arguments, CONTEXT)
    finally:
        if offer.close is not None:
            await offer.close()


async def webhook(client: GuardedClient, url: str, home: Path) -> None:
    """A courier's attempt to deliver."""
    delivery = Delivery(DeliveryId("dlv_1"), JobId("job_1"), TenantId("ten_1"), url, b"{}", 1)
    keys = Keyring([bytes(range(32))], b"pepper")
    await Courier(client, keys, SystemClock(), disable_after_s=9.0).attempt(delivery, keys.keys_of(delivery))


async def web_fetch(client: GuardedClient, url: str, home: Path) -> None:
    [offer] = await offer_fetch(supplies(client, home))
    await run(offer, {"url": url})


async def _http(client: GuardedClient, url: str, home: Path, name: str, method: str) -> None:
    """With a list that names every host of the matrix: the list alone opens no private network."""
    hosts = {origin.host for origin in listable()} | {START}
    listed = {f"[{host}]" if ":" in host else host: {"methods": ["GET", "POST"]} for host in hosts}
    (home / "http.json").write_text(json.dumps({"hosts": listed}))
    (home / "http.json").chmod(0o600)
    offers = {offer.spec.name: offer for offer in await offer_http(supplies(client, home))}
    await run(offers[name], {"url": url, "method": method})


def listable() -> Iterator[Origin]:
    """What a file could list: it refuses odd spellings itself."""
    for row in ROWS:
        with suppress(EgressDenied):
            yield origin_of(row.url("https"))


async def http_request(client: GuardedClient, url: str, home: Path) -> None:
    await _http(client, url, home, "http_request", "GET")


async def http_write(client: GuardedClient, url: str, home: Path) -> None:
    await _http(client, url, home, "http_write", "POST")


async def library(client: GuardedClient, url: str, home: Path) -> None:
    """Any library's httpx client, following redirects by itself."""
    async with client.http_client() as http:
        with suppress(httpx.HTTPError, httpx.InvalidURL):
            await http.get(url, follow_redirects=True)


async def search(client: GuardedClient, url: str, home: Path) -> None:
    with suppress(ValidationError):  # a setting that is no http address stops the start
        [offer] = await offer_search(supplies(client, home, search=["searxng"], searxng_url=url))
        await run(offer, {"query": "狗"})


async def embeddings(client: GuardedClient, url: str, home: Path) -> None:
    with suppress(MeaningUnavailable):
        await Meaning(url, ToolSettings(), client).vectors(["狗"])


async def remote_sandbox(client: GuardedClient, url: str, home: Path) -> None:
    await PistonSandbox(url, client, Limits()).run("1", {})


async def mcp(client: GuardedClient, url: str, home: Path) -> None:
    server = McpServer("there", Address(url, {"Authorization": "Bearer secret"}), start_timeout_s=5.0)
    link = open_link(server, supplies(client, home), Pins(home / "pins.json"))
    try:
        await link.open()
    finally:
        await link.close()


CHOSEN: Final[dict[str, Feature]] = {
    "webhook": webhook,
    "web_fetch": web_fetch,
    "http_request": http_request,
    "http_write": http_write,
    "library": library,
}
"""A caller, a model or a page chooses the address."""
NAMED: Final[dict[str, Feature]] = {"search": search, "embeddings": embeddings, "remote_sandbox": remote_sandbox, "mcp": mcp}
"""The operator names the server."""


def at(feature: Feature, home: Path) -> Callable[[GuardedClient, str], Awaitable[object]]:
    return lambda client, url: feature(client, url, home)


def test_the_matrix_has_its_45_rows() -> None:
    kinds = [row.kind for row in ROWS]
    assert (len(ROWS), kinds.count("forbidden"), kinds.count("control")) == (45, 38, 2)


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("feature", CHOSEN)
async def test_no_feature_dials_what_it_must_not(feature: str, scheme: Scheme, tmp_path: Path) -> None:
    tried = {row.template: await leaks(at(CHOSEN[feature], tmp_path), row.url(scheme)) for row in ROWS if row.kind != "control"}
    assert {template: dialled for template, dialled in tried.items() if dialled} == {}


@pytest.mark.parametrize("feature", [*CHOSEN, *NAMED])
async def test_no_redirect_leads_a_feature_where_it_must_not_go(feature: str, tmp_path: Path) -> None:
    tried = {row.template: await leaks_by_redirect(at((CHOSEN | NAMED)[feature], tmp_path), row.url("https")) for row in ROWS}
    assert {template: dialled for template, dialled in tried.items() if dialled} == {}


@pytest.mark.parametrize("feature", NAMED)
async def test_a_server_that_the_operator_named_is_reached_in_a_private_network_at_most(feature: str, tmp_path: Path) -> None:
    for row in ROWS:
        dialled = await leaks(at(NAMED[feature], tmp_path), row.url("http"))
        assert {address for address, _ in dialled if not is_private(ipaddress.ip_address(address))} <= {PUBLIC}, row.template
        assert {port for _, port in dialled} <= {80, 22, 6379}, row.template


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.template)
async def test_a_webhook_is_registered_only_where_it_may_be_sent(row: Row) -> None:
    settings, resolver = EgressSettings(), MatrixResolver()
    if row.kind == "control" or "rebinding" in row.template:  # public when it is registered; each delivery asks again
        assert (await check_target(row.url("https"), settings, resolver)).addresses
        return
    with pytest.raises(EgressDenied):
        await check_target(row.url("https"), settings, resolver)


@pytest.mark.parametrize("feature", [*CHOSEN, *NAMED])
async def test_each_feature_reaches_what_is_public(feature: str, tmp_path: Path) -> None:
    backend = AnsweringBackend()
    with suppress(TandemError):
        await (CHOSEN | NAMED)[feature](matrix_client(backend), "https://public.example/page", tmp_path)
    assert {address for address, _ in backend.dialled} == {PUBLIC}
