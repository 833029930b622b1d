"""SSE framing and parsing: what goes out comes back, however it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from tandem.sse import DONE_FRAME, NATIVE_KEEPALIVE, OPENAI_KEEPALIVE, Frame, Parser, data_frame, event_frame, named_frame


def parse(*chunks: bytes) -> list[Frame]:
    parser = Parser()
    return [frame for chunk in chunks for frame in parser.feed(chunk)]


def test_an_event_frame_carries_type_and_sequence_number() -> None:
    assert parse(event_frame("response.created", 0, b'{"a":1}')) == [Frame("response.created", '{"a":1}', "0")]


def test_data_frames_have_no_id_line() -> None:
    assert b"id:" not in data_frame(b"{}") + named_frame("x", b"{}") + DONE_FRAME


def test_the_openai_keepalive_ends_no_event() -> None:
    assert parse(OPENAI_KEEPALIVE, data_frame(b"1"), OPENAI_KEEPALIVE, data_frame(b"2")) == [Frame("message", "1", None), Frame("message", "2", None)]
    assert not OPENAI_KEEPALIVE.endswith(b"\n\n")


def test_comments_and_unknown_fields_are_dropped() -> None:
    assert parse(NATIVE_KEEPALIVE + b"foo: bar\nretry: 5\n" + data_frame(b"x")) == [Frame("message", "x", None)]


def test_several_data_lines_are_joined() -> None:
    assert parse(b"data: a\ndata: b\n\n") == [Frame("message", "a\nb", None)]


def test_an_id_with_nul_is_ignored() -> None:
    assert parse(b"id: a\x00b\ndata: x\n\n") == [Frame("message", "x", None)]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=5), st.data())
def test_any_cut_and_any_line_ending_gives_the_same_frames(texts: list[str], data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    stream = b"".join(event_frame("e", n, text.encode()) for n, text in enumerate(texts)).replace(b"\n", ending) + b":\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*pieces) == [Frame("e", text, str(n)) for n, text in enumerate(texts)]
