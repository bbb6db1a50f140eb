"""Where a value has moved away, said in advance, against the bands that decide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.rules.bands import closed_truth, relaxed_truth
from atf.rules.moved_away import banded_leaves, closed_edges, relaxed_edges
from atf.rules.operands import ColumnOperand, Constant, Operand
from atf.rules.rule import AllOf, Leaf, LeafOperator, Not, without_negations
from atf.rules.shape import shape_of
from atf.rules.words import edges_words

SIXTEENTHS = st.integers(-64, 64).map(lambda number: number / 16)
CLOSE = ColumnOperand("close")


@given(st.sampled_from(LeafOperator), SIXTEENTHS, SIXTEENTHS, SIXTEENTHS)
def test_edges_are_those_of_the_bands(operator: LeafOperator, x: float, one: float, other: float) -> None:
    levels = sorted((one, other)) if operator.has_channel else [one]
    leaf: Leaf[Operand] = Leaf(CLOSE, operator, tuple(map(Constant, levels)))
    shape, _ = shape_of(leaf)
    values = [np.array([[number]]) for number in (x, *levels)]
    columns, value = [np.array([level]) for level in levels], np.array([x])
    relaxed = relaxed_truth(shape, values, {}, lambda level: np.abs(level) / 8)
    assert relaxed_edges(operator, columns, lambda level: np.abs(level) / 8).hold(value)[0] == (
        relaxed[0, 0] == -1
    )
    closed = closed_truth(shape, values, {})
    assert closed_edges(operator, columns).hold(value)[0] == (closed[0, 0] == -1)


@pytest.mark.parametrize(
    ("sign", "levels", "relaxed", "closed"),
    [
        (">", [64], "close <= 56", "close < 64"),
        ("crosses_below", [64], "close >= 72", "close > 64"),
        ("==", [64], "close <= 56 or close >= 72", "close < 64 or close > 64"),
        ("!=", [64], "close == 64", "close == 64"),
        ("between", [64, 80], "close <= 56 or close >= 90", "close < 64 or close > 80"),
        ("outside", [64, 160], "72 <= close <= 140", "64 < close < 160"),
        ("exits", [64, 72], "no value, as the channel is narrower than the way to move", "64 < close < 72"),
        (">", [float("nan")], "a level that is not known yet", "a level that is not known yet"),
    ],
)
def test_edges_are_said_in_words(sign: str, levels: list[float], relaxed: str, closed: str) -> None:
    columns = [np.array([float(level)]) for level in levels]
    operator = LeafOperator(sign)
    assert edges_words("close", relaxed_edges(operator, columns, lambda level: np.abs(level) / 8)) == relaxed
    assert edges_words("close", closed_edges(operator, columns)) == closed


def test_below_a_not_a_leaf_is_its_opposite_and_an_event_has_no_band() -> None:
    above: Leaf[Operand] = Leaf(CLOSE, LeafOperator.GREATER, (Constant(5),), 0)
    event: Leaf[Operand] = Leaf(CLOSE, LeafOperator.CROSSES, (Constant(5),), 1)
    found = banded_leaves(without_negations(AllOf((Not(above), Not(event)))))
    assert {number: leaf.operator for number, leaf in found.items()} == {0: LeafOperator.LESS_EQUAL}
