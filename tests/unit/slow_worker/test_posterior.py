"""The stopping rule."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slow_worker.posterior import lead_probability


@given(st.integers(0, 30), st.integers(0, 30))
def test_whole_votes_agree_with_the_binomial_sum(first: int, second: int) -> None:
    n = first + second + 1

    assert lead_probability(first, second) == pytest.approx(sum(math.comb(n, i) for i in range(first + 1)) / 2**n)


@given(st.floats(0, 40), st.floats(0, 40), st.floats(0.1, 5))
def test_more_votes_for_the_leader_never_lower_it(first: float, second: float, more: float) -> None:
    assert lead_probability(first + more, second) >= lead_probability(first, second) - 1e-9


@pytest.mark.parametrize(("votes", "tau"), [((3, 0), 0.90), ((5, 1), 0.90), ((4, 0), 0.95), ((6, 1), 0.95), ((6, 0), 0.99)])
def test_the_published_first_stops(votes: tuple[int, int], tau: float) -> None:
    assert lead_probability(*votes) >= tau
    assert lead_probability(votes[0] - 1, votes[1]) < tau
