import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.estimates import Z95, mean_of, rise_at_least, share_of, weighted_mean, wilson


def test_a_share_of_nothing_is_unknown() -> None:
    assert share_of(0, 0).value is None
    assert mean_of([]).value is None


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263, Z95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20, Z95) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(total=st.integers(1, 10_000), part=st.floats(0, 1))
def test_the_interval_holds_the_share(total: int, part: float) -> None:
    estimate = share_of(round(total * part), total)
    assert estimate.low is not None
    assert estimate.value is not None
    assert estimate.high is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_a_rise_must_be_surer_the_fewer_were_seen() -> None:
    assert rise_at_least((100, 1_000), (60, 200), 0.1, 0.05)
    assert not rise_at_least((100, 1_000), (6, 20), 0.1, 0.05)
    assert not rise_at_least((300, 1_000), (60, 200), 0.0, 0.05)


def test_a_weighted_mean_knows_how_many_values_it_stands_on() -> None:
    estimate, effective = weighted_mean(np.array([1.0, 0.0, 1.0]), np.array([100.0, 1.0, 1.0]))
    assert estimate.value == pytest.approx(101 / 102)
    assert estimate.n == 3
    assert effective == pytest.approx(102**2 / 10_002)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        estimate = mean_of(list(rng.beta(2, 1, 100)))
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 2 / 3 <= estimate.high
    assert 0.92 <= covered / 500 <= 0.98
