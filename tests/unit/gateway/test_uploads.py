"""What an upload may cost: time between its pieces, bytes that were not announced, places at once, room on the disk."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.asgi import Message
from gateway.errors import HttpFault
from gateway.uploads import UploadRoom, bounded
from tandem.errors import BodyTooLarge, InvalidRequest, TooManyRequests

HEADERS = {"content-type": "multipart/form-data; boundary=b"}
FORM = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
ROOM = 65_536
"""What a body may have beside its file."""


def scope(length: int | None = None) -> dict[str, Any]:
    return {"headers": [] if length is None else [(b"content-length", str(length).encode())]}


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def silence() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def megabytes() -> Message:
    return {"type": "http.request", "body": bytes(1_048_576), "more_body": True}


async def test_a_sender_that_stalls_is_let_go() -> None:
    with pytest.raises(HttpFault, match="nothing came") as refused:
        await bounded(scope(), silence, 10, piece_s=0.01)()
    assert refused.value.status == 408


async def test_a_client_that_has_gone_is_no_error_of_ours() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(HttpFault) as refused:
        await bounded(scope(), gone, 10)()
    assert refused.value.status == 499


def test_what_is_announced_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(BodyTooLarge, match="10737418240"):
        bounded(scope(10 * 2**30), silence, 1_000)


async def test_what_was_not_announced_is_refused_as_soon_as_it_is_too_much() -> None:
    receive = bounded(scope(5), megabytes, 2_000_000)
    await receive()
    with pytest.raises(BodyTooLarge, match="2097152"):
        await receive()


async def test_a_form_may_come_in_any_pieces() -> None:
    for size in (1, 2, 7, len(FORM)):
        cut = [FORM[start : start + size] for start in range(0, len(FORM), size)]
        async with UploadRoom().receive(HEADERS, pieces(*cut), 5) as upload:
            assert (upload.asked.name, upload.content, upload.media_type) == ("a.txt", b"hello", "text/plain")


async def test_uploads_beyond_the_places_are_told_to_come_back() -> None:
    room = UploadRoom(receiving=1)
    async with room.receive(HEADERS, pieces(FORM), 5):
        with pytest.raises(TooManyRequests):
            async with room.receive(HEADERS, pieces(FORM), 5):
                pass
    async with room.receive(HEADERS, pieces(FORM), 5) as upload:
        assert upload.content == b"hello"


async def test_a_refused_upload_gives_its_place_back() -> None:
    room = UploadRoom(receiving=1)
    for _ in range(3):
        with pytest.raises(InvalidRequest):
            async with room.receive(HEADERS, pieces(b"nonsense"), 5):
                pass


async def test_no_more_files_are_in_memory_than_agreed() -> None:
    room, inside, most = UploadRoom(receiving=9, whole=2), 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with room.receive(HEADERS, pieces(FORM), 5):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(9)))
    assert most == 2


async def test_a_big_file_goes_through_the_disk_and_comes_back_whole() -> None:
    content = bytes(range(256)) * 10_000
    body = FORM.replace(b"hello", content)
    async with UploadRoom().receive(HEADERS, pieces(*(body[start : start + ROOM] for start in range(0, len(body), ROOM))), len(content)) as upload:
        assert upload.content == content
