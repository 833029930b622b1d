"""Which addresses may be reached at all: by form, by name, and by what the operator lists."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.egress import AllowList, check_target, is_public, operated, resolve
from tandem.egress.addresses import is_private
from tandem.errors import EgressDenied, SettingsInvalid
from tandem.settings import EgressSettings
from tandem.testing.egress_matrix import FORBIDDEN_HOSTS, NAMES, PUBLIC, REBINDING, MatrixResolver


def settings(*allow: str) -> EgressSettings:
    return EgressSettings(allow=list(allow))


@pytest.mark.parametrize("host", [host for host in FORBIDDEN_HOSTS if host != REBINDING])
async def test_a_forbidden_target_is_refused_when_it_is_registered(host: str) -> None:
    with pytest.raises(EgressDenied) as caught:
        await check_target(f"https://{host}/hook", settings(), MatrixResolver())
    resolved = NAMES.get(host.removesuffix("."), [])
    assert not any(address in caught.value.message for address in resolved)


async def test_private_and_unknown_names_get_the_same_answer() -> None:
    messages: set[str] = set()
    for host in ("private.example", "unknown.example"):
        with pytest.raises(EgressDenied) as caught:
            await check_target(f"https://{host}/", settings(), MatrixResolver())
        messages.add(caught.value.message.replace(host, "HOST"))
    assert len(messages) == 1


async def test_an_internationalised_name_is_resolved_in_ascii() -> None:
    asked: list[str] = []

    async def resolver(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return [PUBLIC]

    target = await check_target("https://BÜCHER.example/päth?q=ü#part", settings(), resolver)
    assert asked == ["xn--bcher-kva.example"]
    assert (target.authority, target.path) == ("xn--bcher-kva.example", "/p%C3%A4th?q=%C3%BC")


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("localhost", "http://localhost:9000/"),
        ("LOCALHOST.", "http://localhost/"),
        ("10.0.0.0/8", "http://private.example:1234/"),
        ("10.1.2.3", "https://private.example/"),
        ("::1", "http://[::1]:9000/"),
        ("127.0.0.1", "http://127.0.0.1:9000/"),
    ],
)
async def test_what_the_operator_lists_is_reached(allow: str, url: str) -> None:
    assert (await check_target(url, settings(allow), MatrixResolver())).addresses


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("127.0.0.1", "http://localhost/"),  # ::1 is not listed
        ("10.0.0.0/8", "https://metadata.example/"),
        ("10.0.0.0/8", "http://good-then-bad.example/"),
        ("localhost", "http://127.0.0.1/"),
        ("0.0.0.0/0", "https://mapped.example/"),
    ],
)
async def test_what_the_operator_does_not_list_stays_refused(allow: str, url: str) -> None:
    with pytest.raises(EgressDenied):
        await check_target(url, settings(allow), MatrixResolver())


@pytest.mark.parametrize("entry", ["http://x", "localhost:80", "10.0.0.1/8", "*.corp", "127.1", "a b", "-", "::1%eth0/64"])
def test_a_bad_entry_of_the_allow_list_stops_the_start(entry: str) -> None:
    with pytest.raises(SettingsInvalid, match="TANDEM_EGRESS_ALLOW"):
        AllowList.parse([entry])


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_we_are_never_laxer_than_the_standard_library(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert address.is_global or not is_public(address)


@pytest.mark.parametrize("text", ["192.88.99.1", "192.31.196.1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "ff02::1"])
def test_relays_examples_and_unassigned_space_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


async def test_the_systems_resolver_answers_with_literal_addresses() -> None:
    assert "127.0.0.1" in await resolve("127.0.0.1", 80)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_no_address_is_both_public_and_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not (is_public(address) and is_private(address))


@pytest.mark.parametrize(
    "host", ["localhost", "10.0.0.1", "192.168.0.1", "[::1]", "[fc00::1]", "cgnat.example", "good-then-bad.example", "public.example"]
)
async def test_a_server_that_the_operator_named_may_be_private(host: str) -> None:
    url = f"http://{host}:9000/"
    assert (await check_target(url, settings(), MatrixResolver(), operated(url, "X"))).permit == "operated"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "metadata.example", "0.0.0.0", "224.0.0.1", "192.0.0.192", "[fe80::1]", "[::ffff:10.0.0.1]", "mapped.example"]
)
async def test_a_server_that_the_operator_named_is_never_a_metadata_service_or_a_translated_address(host: str) -> None:
    url = f"http://{host}:9000/"
    with pytest.raises(EgressDenied):
        await check_target(url, settings(), MatrixResolver(), operated(url, "X"))


@pytest.mark.parametrize("text", ["2606:2800:21f:cb07:6820:80da:af6b:8b2c%eth0", "fc00::1%eth0", "::1%lo"])
def test_an_address_with_a_zone_is_neither_public_nor_private(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))
    assert not is_private(ipaddress.ip_address(text))
