"""The relaxed and the closed rule, leaf by leaf and through negations."""

import numpy as np
import pytest

from atf.rules.bands import closed_truth, relaxed_truth
from atf.rules.operands import ColumnOperand, Constant, Operand
from atf.rules.rule import AllOf, AnyOf, Leaf, LeafOperator, Not, Rule
from atf.rules.shape import shape_of

NAN = float("nan")


def leaf(sign: str, *levels: float, column: str = "close", number: int = 0) -> Leaf[Operand]:
    return Leaf(ColumnOperand(column), LeafOperator(sign), tuple(map(Constant, levels)), number)


def both(rule: Rule, value: float, other: float = 0, event: int = -1) -> tuple[int, int]:
    """The relaxed rule (an eighth of the level wide) and the closed rule on one bar."""
    shape, operands = shape_of(rule)
    read = [
        one.value if isinstance(one, Constant) else {"close": value, "volume": other}[str(one)]
        for one in operands
    ]
    values = [np.array([[number]]) for number in read]
    leaves = {number: np.array([[event]], dtype=np.int8) for number in range(4)}
    relaxed = relaxed_truth(shape, values, leaves, lambda level: np.abs(level) / 8)
    return int(relaxed[0, 0]), int(closed_truth(shape, values, leaves)[0, 0])


@pytest.mark.parametrize(
    ("rule", "value", "relaxed", "closed"),
    [
        (leaf(">", 64), 56.0, -1, -1),  # the band's edge counts as moved away
        (leaf(">", 64), 56.01, 1, -1),
        (leaf(">", 64), 64.0, 1, 1),
        (leaf(">=", 64), 64.0, 1, 1),
        (leaf("crosses_above", 64), 57.0, 1, -1),
        (leaf("<", 64), 72.0, -1, -1),
        (leaf("<", 64), 71.9, 1, -1),
        (leaf("<=", 64), 64.0, 1, 1),
        (leaf("crosses_below", 64), 65.0, 1, -1),
        (leaf("==", 64), 71.9, 1, -1),
        (leaf("==", 64), 56.0, -1, -1),
        (leaf("crosses", 64), 64.0, 1, 1),
        (leaf("!=", 64), 64.0, -1, -1),
        (leaf("!=", 64), 63.0, 1, 1),
        (leaf("between", 64, 80), 56.1, 1, -1),
        (leaf("between", 64, 80), 90.0, -1, -1),
        (leaf("enters", 64, 80), 80.0, 1, 1),
        (leaf("outside", 64, 80), 71.9, 1, -1),
        (leaf("outside", 64, 160), 72.0, -1, -1),
        (leaf("exits", 64, 80), 64.0, 1, 1),
        (leaf(">", 64), NAN, 0, 0),
        (leaf(">", -64), -72.0, -1, -1),  # the width is that of the level's size
        (leaf(">", -64), -71.0, 1, -1),
        (leaf(">", 0), 0.0, -1, 1),  # a level of 0 has no width
        (Not(leaf("<=", 64)), 57.0, 1, -1),
        (Not(Not(leaf(">", 64))), 57.0, 1, -1),
        (Not(leaf("between", 64, 80)), 71.9, 1, -1),
    ],
)
def test_band_of_a_leaf(rule: Rule, value: float, relaxed: int, closed: int) -> None:
    assert both(rule, value) == (relaxed, closed)


def test_one_leaf_of_an_and_moving_away_is_enough_and_all_of_an_or_are_needed() -> None:
    price, volume = leaf(">", 64), leaf(">", 800, column="volume", number=1)
    assert both(AllOf((price, volume)), 50, 900)[0] == -1
    assert both(AnyOf((price, volume)), 50, 900)[0] == 1
    assert both(Not(AnyOf((Not(price), Not(volume)))), 50, 900)[0] == -1


@pytest.mark.parametrize(("happened", "expected"), [(1, -1), (-1, 1), (0, 0)])
def test_a_negated_event_is_left_as_it_is(happened: int, expected: int) -> None:
    assert both(Not(leaf("crosses_above", 64)), 10, event=happened) == (expected, expected)
