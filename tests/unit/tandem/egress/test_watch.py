"""What was reached and refused is told to whoever watches, and to nobody else."""

import asyncio

import pytest

from tandem.egress import Reached, watched
from tandem.errors import EgressDenied
from tandem.testing.egress_matrix import PUBLIC, AnsweringBackend, RecordingBackend, matrix_client, redirect_to


async def test_a_request_is_told_with_its_address_and_sizes() -> None:
    backend = AnsweringBackend()
    with watched() as watch:
        await matrix_client(backend).fetch("https://public.example/page", method="POST", body=b"12345")
    [reached] = watch.reached
    assert (reached.host, reached.address, reached.port, reached.rule, reached.status) == ("public.example", PUBLIC, 443, "public", 200)
    assert (reached.is_refused, reached.bytes_out) == (False, len(backend.streams[0].written))
    assert reached.bytes_in > 60
    assert reached.seconds >= 0


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://metadata.example/", Reached("metadata.example", "169.254.169.254", 443, "not_public", is_refused=True)),
        ("https://10.0.0.1/", Reached("10.0.0.1", "10.0.0.1", 443, "not_public", is_refused=True)),
        ("https://unknown.example/", Reached("unknown.example", None, 443, "unresolved", is_refused=True)),
        ("https://public.example:22/", Reached("public.example", None, 22, "port", is_refused=True)),
        ("file:///etc/passwd", Reached("", None, None, "scheme", is_refused=True)),
        ("https://user@public.example/", Reached("", None, None, "credentials", is_refused=True)),
        ("https://127.1/", Reached("127.1", None, None, "host", is_refused=True)),
        ("https:// /", Reached("", None, None, "url", is_refused=True)),
    ],
)
async def test_a_refusal_is_told_with_its_rule(url: str, refused: Reached) -> None:
    with watched() as watch, pytest.raises(EgressDenied):
        await matrix_client(AnsweringBackend()).fetch(url)
    assert watch.reached == [refused]


async def test_each_hop_is_told_and_so_is_one_that_is_never_followed() -> None:
    backend = AnsweringBackend(redirect_to("/second"), redirect_to("http://public.example/"))
    with watched() as watch, pytest.raises(EgressDenied):
        await matrix_client(backend).fetch("https://public.example/first")
    assert [(reached.rule, reached.status) for reached in watch.reached] == [("public", 302), ("public", 302), ("redirect", None)]
    assert {reached.host for reached in watch.reached} == {"public.example"}


async def test_a_failed_connection_is_told_without_a_status() -> None:
    with watched() as watch, pytest.raises(ConnectionError):
        await matrix_client(RecordingBackend()).post("https://public.example/", {}, b"")
    assert [(reached.address, reached.status, reached.bytes_out) for reached in watch.reached] == [(PUBLIC, None, 0)]


async def test_tasks_started_inside_are_watched_and_an_inner_watch_keeps_its_own() -> None:
    client = matrix_client(AnsweringBackend())

    async def inner() -> int:
        with watched() as own:
            await client.fetch("https://start.example/")
        return len(own.reached)

    with watched() as watch:
        counts = await asyncio.gather(asyncio.create_task(client.fetch("https://public.example/")), asyncio.create_task(inner()))
    assert ([reached.host for reached in watch.reached], counts[1]) == (["public.example"], 1)


async def test_after_the_end_nothing_is_told_any_more() -> None:
    with watched() as watch:
        pass
    await matrix_client(AnsweringBackend()).fetch("https://public.example/")
    assert watch.reached == []
