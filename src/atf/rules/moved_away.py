"""At which values a leaf has moved away from its level: the edges of the bands in ``bands``, as numbers. Pure.

``bands`` decides; this says in advance where, for people and for charts.

Shape: levels and edges (n,), a value a bar, or (1,) where they are the same on all bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from atf.market.bars import FloatArray
from atf.rules.bands import Width
from atf.rules.rule import AllOf, AnyOf, Leaf, LeafOperator, Not, Tree, X
from atf.rules.truth import BoolArray, both, either

_UPWARD = (LeafOperator.GREATER, LeafOperator.GREATER_EQUAL, LeafOperator.CROSSES_ABOVE)
_DOWNWARD = (LeafOperator.LESS, LeafOperator.LESS_EQUAL, LeafOperator.CROSSES_BELOW)
_ON_LEVEL = (LeafOperator.EQUAL, LeafOperator.CROSSES)
_INSIDE = (LeafOperator.BETWEEN, LeafOperator.ENTERS)


@dataclass(frozen=True, slots=True)
class Edges:
    """The values that have moved away: at most ``below`` or at least ``above``, or with ``is_within`` both.

    None where there is no such edge; NaN where it is unknown. The edges themselves belong to it if
    ``has_edge``.
    """

    below: FloatArray | None
    above: FloatArray | None
    is_within: bool = False
    has_edge: bool = True

    def hold(self, x: FloatArray) -> BoolArray:
        """Tell on which bars a value has moved away."""
        beyond = []
        if self.below is not None:
            beyond.append(x <= self.below if self.has_edge else x < self.below)
        if self.above is not None:
            beyond.append(x >= self.above if self.has_edge else x > self.above)
        return reduce(both if self.is_within else either, beyond)


def relaxed_edges(operator: LeafOperator, levels: Sequence[FloatArray], width: Width) -> Edges:
    """Return where a value has moved away from its level for hysteresis; ``width`` is d by L."""
    low, high = levels[0], levels[-1]
    if operator in _UPWARD:
        return Edges(low - width(low), None)
    if operator in _DOWNWARD:
        return Edges(None, low + width(low))
    if operator is LeafOperator.NOT_EQUAL:
        return Edges(low, low, is_within=True)
    if operator in _ON_LEVEL or operator in _INSIDE:
        return Edges(low - width(low), high + width(high))
    return Edges(high - width(high), low + width(low), is_within=True)


def closed_edges(operator: LeafOperator, levels: Sequence[FloatArray]) -> Edges:
    """Return where a value is on the other side of its level for crossing."""
    low, high = levels[0], levels[-1]
    if operator in _UPWARD:
        return Edges(low, None, has_edge=False)
    if operator in _DOWNWARD:
        return Edges(None, low, has_edge=False)
    if operator is LeafOperator.NOT_EQUAL:
        return Edges(low, low, is_within=True)
    if operator in _ON_LEVEL or operator in _INSIDE:
        return Edges(low, high, has_edge=False)
    return Edges(high, low, is_within=True, has_edge=False)


def banded_leaves(tree: Tree[X]) -> dict[int, Leaf[X]]:
    """Return the leaves that have a band, by number, of a tree without negations; a negated event has none."""
    match tree:
        case Leaf(number=number):
            return {number: tree}
        case Not():
            return {}
        case AllOf(parts) | AnyOf(parts):
            return {number: leaf for part in parts for number, leaf in banded_leaves(part).items()}
