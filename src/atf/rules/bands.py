"""Rules that decide whether a value has moved away from its level, made from a rule by widening its leaves. Pure.

The relaxed rule stands for hysteresis: each leaf becomes the band in which the value has not yet moved away, d
wide on the false side of its level; reaching the band's edge counts as moved away. The closed rule stands for
crossing: d is 0 and the level itself belongs to the band, so that touching it is not crossing back.

Shape: as in ``truth``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from atf.market.bars import FloatArray
from atf.rules.rule import AllOf, AnyOf, Leaf, LeafOperator, Not, Tree, without_negations
from atf.rules.shape import Shape, Slot
from atf.rules.truth import BoolArray, TruthArray, both, either, joined, same, truth_of

Width = Callable[[FloatArray], FloatArray]
"""How far a value must move away from a level: d by L."""

_UPWARD = (LeafOperator.GREATER, LeafOperator.GREATER_EQUAL, LeafOperator.CROSSES_ABOVE)
_DOWNWARD = (LeafOperator.LESS, LeafOperator.LESS_EQUAL, LeafOperator.CROSSES_BELOW)
_ON_LEVEL = (LeafOperator.EQUAL, LeafOperator.CROSSES)
_INSIDE = (LeafOperator.BETWEEN, LeafOperator.ENTERS)


def relaxed_truth(
    shape: Shape, values: Sequence[FloatArray], leaves: Mapping[int, TruthArray], width: Width
) -> TruthArray:
    """Return the truth of the relaxed rule; ``leaves`` are those of the rule itself, for negated events."""
    return _truth(shape, values, leaves, lambda operator, x, levels: _is_near(operator, x, levels, width))


def closed_truth(shape: Shape, values: Sequence[FloatArray], leaves: Mapping[int, TruthArray]) -> TruthArray:
    """Return the truth of the closed rule; ``leaves`` are those of the rule itself, for negated events."""
    return _truth(shape, values, leaves, _touches)


def _truth(
    shape: Shape,
    values: Sequence[FloatArray],
    leaves: Mapping[int, TruthArray],
    band: Callable[[LeafOperator, FloatArray, Sequence[FloatArray]], BoolArray],
) -> TruthArray:
    def leaf(one: Leaf[Slot]) -> TruthArray:
        x, levels = values[one.left.number], [values[level.number] for level in one.levels]
        return truth_of(band(one.operator, x, levels), x, *levels)

    # A negated event has no band and is taken as it is.
    negated = set(_negated_events(tree := without_negations(shape)))
    return joined(tree, lambda one: leaves[one.number] if one.number in negated else leaf(one))


def _negated_events(tree: Tree[Slot]) -> Iterator[int]:
    match tree:
        case Not(Leaf(number=number)):
            yield number
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _negated_events(part)


def _is_near(operator: LeafOperator, x: FloatArray, levels: Sequence[FloatArray], width: Width) -> BoolArray:
    low, high = levels[0], levels[-1]
    if operator in _UPWARD:
        return x > low - width(low)
    if operator in _DOWNWARD:
        return x < low + width(low)
    if operator in _ON_LEVEL:
        return both(x - low < width(low), low - x < width(low))
    if operator is LeafOperator.NOT_EQUAL:
        return ~same(x, low)
    if operator in _INSIDE:
        return both(low - width(low) < x, x < high + width(high))
    return either(x < low + width(low), x > high - width(high))


def _touches(operator: LeafOperator, x: FloatArray, levels: Sequence[FloatArray]) -> BoolArray:
    low, high = levels[0], levels[-1]
    if operator in _UPWARD:
        return x >= low
    if operator in _DOWNWARD:
        return x <= low
    if operator in _ON_LEVEL:
        return same(x, low)
    if operator is LeafOperator.NOT_EQUAL:
        return ~same(x, low)
    if operator in _INSIDE:
        return both(low <= x, x <= high)
    return either(x <= low, x >= high)
