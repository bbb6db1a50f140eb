"""Events and the sides they remember, over several alerts and bars at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.rules.operands import ColumnOperand, Constant, Operand
from atf.rules.rule import Leaf, LeafOperator
from atf.rules.shape import shape_of
from atf.rules.truth import Judged, judge

NAN = float("nan")


def judged(sign: str, values: list[float], *levels: float, side: int = 0) -> Judged:
    """One alert over some bars."""
    rule: Leaf[Operand] = Leaf(ColumnOperand("close"), LeafOperator(sign), tuple(map(Constant, levels)))
    shape, _ = shape_of(rule)
    given_ = [np.array([values]), *(np.array([[level]]) for level in levels)]
    return judge(shape, given_, {0: np.array([side], dtype=np.int8)})


def truth(sign: str, values: list[float], *levels: float, side: int = 0) -> list[int]:
    found: list[int] = judged(sign, values, *levels, side=side).truth[0].tolist()
    return found


@pytest.mark.parametrize(
    ("sign", "values", "levels", "expected"),
    [
        ("crosses_above", [149, 150, 151], (150,), [-1, -1, 1]),
        ("crosses_above", [151, 150, 151], (150,), [-1, -1, -1]),
        ("crosses_above", [149, NAN, 151], (150,), [-1, 0, 1]),
        ("crosses_above", [151, 152], (150,), [-1, -1]),
        ("crosses_below", [151, 150, 149, 148], (150,), [-1, -1, 1, -1]),
        ("crosses", [149, 151, 149, 150, 149], (150,), [-1, 1, 1, -1, -1]),
        ("enters", [90, 100, 105, 120, 110], (100, 110), [-1, 1, -1, -1, 1]),
        ("enters", [105, 90], (100, 110), [-1, -1]),
        ("exits", [105, 110, 110.5], (100, 110), [-1, -1, 1]),
        ("enters", [90, 120], (100, 110), [-1, -1]),
        ("exits", [90, 120], (100, 110), [-1, -1]),
        ("exits", [105, NAN, 120], (100, 110), [-1, 0, 1]),
        ("between", [99, 100, 110, 111, NAN], (100, 110), [-1, 1, 1, -1, 0]),
        ("outside", [99, 100, 110, 111, NAN], (100, 110), [1, -1, -1, 1, 0]),
    ],
)
def test_operators_on_their_edges(
    sign: str, values: list[float], levels: tuple[float, ...], expected: list[int]
) -> None:
    assert truth(sign, values, *levels) == expected


def test_the_side_before_the_first_bar_counts() -> None:
    assert truth("crosses_above", [151], 150, side=-1) == [1]
    assert truth("crosses_above", [151], 150, side=1) == [-1]
    assert truth("exits", [120], 100, 110, side=1) == [1]


def test_sides_of_several_alerts_do_not_mix() -> None:
    shape, _ = shape_of(Leaf(ColumnOperand("close"), LeafOperator.CROSSES_ABOVE, (Constant(0),)))
    values = np.array([[149.0, 151.0], [151.0, 151.0], [NAN, 151.0]])
    found = judge(shape, [values, np.array([[150.0], [150.0], [150.0]])], {0: np.array([0, -1, -1], np.int8)})
    assert found.truth.tolist() == [[-1, 1], [1, -1], [0, 1]]
    assert found.sides[0].tolist() == [[-1, 1], [1, 1], [-1, 1]]


prices = st.lists(st.sampled_from([148.0, 149.0, 150.0, 151.0, NAN]), min_size=1, max_size=12)


@given(prices, st.sampled_from(["crosses_above", "crosses_below", "crosses"]), st.data())
def test_sides_carry_over_any_split(values: list[float], sign: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    whole = truth(sign, values, 150)
    first = judged(sign, values[:cut], 150) if cut else None
    side = int(first.sides[0][0, -1]) if first else 0
    parts = (first.truth[0].tolist() if first else []) + (
        truth(sign, values[cut:], 150, side=side) if values[cut:] else []
    )
    assert parts == whole
