import pytest

from gateway.asgi import Message, Receive, Scope
from gateway.limits import ClientGone, InFlight, check_depth, read_body
from tandem.errors import BodyTooLarge, InvalidRequest, TooManyRequests


def scope(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "headers": list(headers)}


def receiving(*chunks: bytes, is_cut: bool = False) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if is_cut:
        messages.append({"type": "http.disconnect"})
    else:
        messages[-1]["more_body"] = False
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    return receive


async def test_a_body_in_one_piece_or_in_many_is_the_same_body() -> None:
    assert await read_body(scope(), receiving(b"abc"), 3) == b"abc"
    assert await read_body(scope(), receiving(b"a", b"", b"bc"), 3) == b"abc"


@pytest.mark.parametrize("chunks", [(b"abcd",), (b"ab", b"cd"), (b"ab", b"cd", b"ef")])
async def test_a_body_without_content_length_is_cut_off_at_the_limit(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(BodyTooLarge, match="3 are allowed"):
        await read_body(scope(), receiving(*chunks), 3)


async def test_an_announced_large_body_is_refused_before_it_comes() -> None:
    with pytest.raises(BodyTooLarge, match="9999"):
        await read_body(scope((b"content-length", b"9999")), receiving(b""), 3)


async def test_a_client_that_hangs_up_mid_body_is_told_nothing() -> None:
    with pytest.raises(ClientGone):
        await read_body(scope(), receiving(b"a", is_cut=True), 3)


def test_depth_counts_brackets_outside_strings_only() -> None:
    check_depth(b'{"a": "' + b"[" * 500 + b'"}', 4)
    check_depth(b'[{"a":"\\"[[[[["},{"b":"]"},{"c":[1]}]', 4)
    check_depth(b"[" + b"[]," * 500 + b"[]]", 4)
    with pytest.raises(InvalidRequest, match="4 levels"):
        check_depth(b"[" * 5 + b"]" * 5, 4)


def test_an_endless_string_of_quotes_is_scanned_in_linear_time() -> None:
    check_depth(b'"' + b'\\"' * 300_000 + b"[" * 3 + b"{}" * 40, 4)


def test_the_slot_beyond_the_cap_is_refused_and_freed_slots_count_again() -> None:
    in_flight = InFlight(1)
    with in_flight.slot():
        with pytest.raises(TooManyRequests) as caught, in_flight.slot():
            pass
        assert caught.value.retry_after_s == 1
    with in_flight.slot():
        assert in_flight.count == 1
    assert in_flight.count == 0
