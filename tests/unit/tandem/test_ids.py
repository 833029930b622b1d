"""Ids: typed prefixes, time order, fixed shape."""

from hypothesis import given
from hypothesis import strategies as st

from tandem.ids import IdFactory, is_id


def test_an_id_has_its_prefix_and_shape() -> None:
    factory = IdFactory(now_ms=lambda: 1_700_000_000_000)
    assert is_id(factory.job(), "job")
    assert is_id(factory.thread(), "thr")
    assert not is_id(factory.job(), "thr")


@given(st.integers(0, 2**48 - 2), st.integers(1, 10**6))
def test_ids_sort_by_creation(earlier: int, gap: int) -> None:
    times = iter([earlier, min(earlier + gap, 2**48 - 1)])
    factory = IdFactory(now_ms=lambda: next(times), random_bytes=lambda n: b"\xff" * n)
    first, second = factory.job(), factory.job()
    assert first <= second


def test_ids_of_one_millisecond_differ() -> None:
    factory = IdFactory(now_ms=lambda: 1)
    assert len({factory.message() for _ in range(1_000)}) == 1_000


@given(st.text())
def test_no_text_crashes_the_shape_check(text: str) -> None:
    assert is_id(text, "job") in (True, False)
