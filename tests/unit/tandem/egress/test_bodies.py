"""Bodies that never grow beyond their limit, whatever is inside of them."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.egress.bodies import BoundedBody


def read(chunks: list[bytes], encoding: str, limit: int) -> tuple[bytes, bool]:
    body = BoundedBody(encoding, limit)
    for chunk in chunks:
        body.feed(chunk)
        if body.is_full:
            break
    return body.finish()


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


@given(st.binary(max_size=5_000), st.integers(1, 6_000), st.integers(1, 700), st.sampled_from(["", "identity", "gzip", "x-gzip", "deflate"]))
def test_what_is_read_is_the_beginning_of_what_was_sent(content: bytes, limit: int, size: int, encoding: str) -> None:
    packed = gzip.compress(content) if "gzip" in encoding else zlib.compress(content) if encoding == "deflate" else content
    assert read(cut(packed, size), encoding, limit) == (content[:limit], len(content) > limit)


def test_all_members_of_a_gzip_file_are_read() -> None:
    assert read(cut(gzip.compress(b"one ") + gzip.compress(b"two"), 7), "gzip", 100) == (b"one two", False)


def test_padding_after_the_data_is_ignored() -> None:
    assert read([gzip.compress(b"text") + bytes(100)], "gzip", 100) == (b"text", False)


def test_an_empty_body_needs_no_compressed_data() -> None:
    assert read([], "gzip", 100) == (b"", False)


def test_endless_empty_members_count_as_too_long() -> None:
    assert read([gzip.compress(b"")] * 10_000, "gzip", 1_000) == (b"", True)


@pytest.mark.parametrize("content", [b"plain text", gzip.compress(b"a" * 100, mtime=0)[:-10], b"\x1f\x8b\x08\x00garbage!!"])
def test_broken_data_are_a_connection_error(content: bytes) -> None:
    with pytest.raises(ConnectionError, match="compressed data"):
        read([content], "gzip", 1_000)
