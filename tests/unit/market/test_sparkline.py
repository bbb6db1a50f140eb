"""A line of prices in text."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from atf.market.sparkline import sparkline


def test_values_are_blocks_from_the_lowest_to_the_highest() -> None:
    assert sparkline(np.arange(8.0)) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.array([3.0, 1.0, 3.0])) == "█▁█"


def test_a_missing_value_is_blank_and_a_line_that_does_not_move_runs_in_the_middle() -> None:
    assert sparkline(np.array([1.0, np.nan, 2.0])) == "▁ █"
    assert sparkline(np.array([5.0, 5.0])) == "▅▅"
    assert sparkline(np.array([np.nan, np.nan])) == "  "
    assert sparkline(np.array([])) == ""


def test_more_values_than_fit_are_put_together() -> None:
    assert sparkline(np.repeat(np.arange(8.0), 100), width=8) == "▁▂▃▄▅▆▇█"


@given(
    numpy_strategies.arrays(np.float64, st.integers(0, 200), elements=st.floats(-1e9, 1e9) | st.just(np.nan)),
    st.integers(1, 100),
)
def test_it_is_never_wider_than_wanted(values: np.ndarray[tuple[int], np.dtype[np.float64]], width: int) -> None:
    assert len(sparkline(values, width)) == min(len(values), width)
