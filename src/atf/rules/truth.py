"""The truth of rules of one shape, over many alerts and bars at once: total and three-valued. Pure.

Missing data is its own answer: with plain booleans ``not (rsi > 70)`` would fire when the feed is down. Truth is
an int8 array of -1 (false), 0 (unknown) and 1 (true), so that Kleene's and, or, not are minimum, maximum, minus.

Shape: (a, b) everywhere, a alerts and b bars; the values of constants are (a, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
import numpy.typing as npt

from atf.market.bars import FloatArray
from atf.rules.rule import AllOf, AnyOf, Leaf, LeafOperator, Not, Tree
from atf.rules.shape import Shape, Slot

TruthArray = npt.NDArray[np.int8]
BoolArray = npt.NDArray[np.bool_]
LeafTruth = Callable[[Leaf[Slot]], TruthArray]

FALSE: Final = -1
UNKNOWN: Final = 0
TRUE: Final = 1

ABOVE: Final = 1
BELOW: Final = -1
NO_SIDE: Final = 0
"""Sides, in the same arrays: above or inside, below or outside, not known yet."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a shape makes of its values.

    ``truth`` is that of the whole rule, ``leaves`` that of each leaf by its number; ``sides`` are those after
    each bar, by the number of the event leaf.
    """

    truth: TruthArray
    leaves: Mapping[int, TruthArray]
    sides: Mapping[int, TruthArray]


def judge(shape: Shape, values: Sequence[FloatArray], sides: Mapping[int, TruthArray]) -> Judged:
    """Return the truth of the rule on each bar.

    Every leaf is judged on every bar, also when the answer is known without it: events remember sides.

    Shape: ``values`` by slot; ``sides`` before the first bar, (a,) for each event leaf.
    """
    leaf_truth: dict[int, TruthArray] = {}
    after: dict[int, TruthArray] = {}

    def leaf(one: Leaf[Slot]) -> TruthArray:
        x, levels = values[one.left.number], [values[level.number] for level in one.levels]
        if one.operator.is_event:
            now = _sides_now(one.operator, x, levels)
            filled = _filled(now, sides[one.number])
            after[one.number] = filled[:, 1:]
            found = truth_of(_happened(one.operator, filled[:, :-1], now), x, *levels)
        else:
            found = truth_of(_holds(one.operator, x, levels), x, *levels)
        leaf_truth[one.number] = found
        return found

    return Judged(joined(shape, leaf), leaf_truth, after)


def joined(tree: Tree[Slot], leaf: LeafTruth) -> TruthArray:
    """Return the truth of a tree from that of its leaves."""
    match tree:
        case Leaf():
            return leaf(tree)
        case Not(inner):
            return -joined(inner, leaf)
        case AllOf(parts):
            return reduce(np.minimum, [joined(part, leaf) for part in parts])
        case AnyOf(parts):
            return reduce(np.maximum, [joined(part, leaf) for part in parts])


def truth_of(holds: BoolArray, *operands: FloatArray) -> TruthArray:
    """Return true where it holds, false where not, and unknown where an operand is."""
    truth = np.where(holds, np.int8(TRUE), np.int8(FALSE))
    for operand in operands:
        missing = np.isnan(operand)
        if missing.any():
            truth[np.broadcast_to(missing, truth.shape)] = UNKNOWN
    return truth


def _holds(operator: LeafOperator, x: FloatArray, levels: Sequence[FloatArray]) -> BoolArray:
    match operator:
        case LeafOperator.GREATER:
            return x > levels[0]
        case LeafOperator.GREATER_EQUAL:
            return x >= levels[0]
        case LeafOperator.LESS:
            return x < levels[0]
        case LeafOperator.LESS_EQUAL:
            return x <= levels[0]
        case LeafOperator.EQUAL:
            return same(x, levels[0])
        case LeafOperator.NOT_EQUAL:
            return ~same(x, levels[0])
        case LeafOperator.OUTSIDE:
            return either(x < levels[0], x > levels[1])
        case _:
            return both(x >= levels[0], x <= levels[1])


def _sides_now(operator: LeafOperator, x: FloatArray, levels: Sequence[FloatArray]) -> TruthArray:
    """Return the side of each bar by itself; none where the value meets its level, or where one is unknown."""
    if operator.has_channel:
        return truth_of(_holds(LeafOperator.BETWEEN, x, levels), x, *levels)
    return (x > levels[0]).astype(np.int8) - (x < levels[0]).astype(np.int8)


def _filled(now: TruthArray, before: TruthArray) -> TruthArray:
    """Return the last known side up to each bar, the one before the first bar in front. Shape: (a, b + 1)."""
    sides = np.concatenate([before[:, None], now], axis=1)
    newest = np.maximum.accumulate(np.where(sides != NO_SIDE, np.arange(sides.shape[1]), 0), axis=1)
    return np.take_along_axis(sides, newest, axis=1)


def _happened(operator: LeafOperator, before: TruthArray, now: TruthArray) -> BoolArray:
    upward, downward = both(before == BELOW, now == ABOVE), both(before == ABOVE, now == BELOW)
    match operator:
        case LeafOperator.CROSSES_ABOVE | LeafOperator.ENTERS:
            return upward
        case LeafOperator.CROSSES_BELOW | LeafOperator.EXITS:
            return downward
        case _:
            return either(upward, downward)


def both(first: BoolArray, second: BoolArray) -> BoolArray:
    """Return where both are true."""
    found: BoolArray = np.logical_and(first, second)
    return found


def either(first: BoolArray, second: BoolArray) -> BoolArray:
    """Return where one of two is true."""
    found: BoolArray = np.logical_or(first, second)
    return found


def same(first: FloatArray, second: FloatArray) -> BoolArray:
    """Return where two numbers are equal."""
    found: BoolArray = np.equal(first, second)
    return found
