import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.calibration import Calibration, PlattMap, shrink, sigmoid


@given(st.floats(allow_nan=False))
def test_a_probability_stays_in_its_range(log_odds: float) -> None:
    assert 0 <= sigmoid(log_odds) <= 1


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_more_log_odds_never_mean_less_probability(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert sigmoid(low) <= sigmoid(high)


def test_a_language_without_a_map_uses_that_of_all() -> None:
    calibration = Calibration(PlattMap(1, 0), {"zh": PlattMap(2, 1)})
    assert calibration.map_for("zh").log_odds(3) == 7
    assert calibration.map_for("other").log_odds(3) == 3


@pytest.mark.parametrize(("rows", "slope"), [(0, 1.0), (100, 1.5), (1e12, 2.0)])
def test_a_map_of_few_rows_is_pulled_to_the_common_one(rows: float, slope: float) -> None:
    assert shrink(PlattMap(2, 0), PlattMap(1, 0), rows, prior_rows=100).slope == pytest.approx(slope)
