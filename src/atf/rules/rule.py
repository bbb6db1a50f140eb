"""The rule tree: what is compared with what, and how the answers are joined. Pure.

Its truth on bars is in ``truth``; the rules that decide about rearming are in ``bands``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from atf.rules.operands import Operand

X = TypeVar("X")
Y = TypeVar("Y")


class LeafOperator(StrEnum):
    """How a value is compared with its level, or with the bounds of its channel.

    Doubles are compared exactly, without tolerance. Event operators are true on the bar on which it happens.
    """

    GREATER = ">"
    GREATER_EQUAL = ">="
    LESS = "<"
    LESS_EQUAL = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="
    BETWEEN = "between"
    OUTSIDE = "outside"
    CROSSES_ABOVE = "crosses_above"
    CROSSES_BELOW = "crosses_below"
    CROSSES = "crosses"
    ENTERS = "enters"
    EXITS = "exits"

    @property
    def has_channel(self) -> bool:
        """Whether there are two levels, a low and a high bound, and not one."""
        return self in _CHANNELS

    @property
    def is_event(self) -> bool:
        """Whether it is about a change, so that the side before must be remembered."""
        return self in _EVENTS

    @property
    def opposite(self) -> LeafOperator:
        """The operator that is true where this one is false. Errors: KeyError for an event."""
        return _OPPOSITES[self]


_CHANNELS = frozenset({LeafOperator.BETWEEN, LeafOperator.OUTSIDE, LeafOperator.ENTERS, LeafOperator.EXITS})
_EVENTS = frozenset(
    {
        LeafOperator.CROSSES_ABOVE,
        LeafOperator.CROSSES_BELOW,
        LeafOperator.CROSSES,
        LeafOperator.ENTERS,
        LeafOperator.EXITS,
    }
)
_PAIRS = (
    (LeafOperator.GREATER, LeafOperator.LESS_EQUAL),
    (LeafOperator.LESS, LeafOperator.GREATER_EQUAL),
    (LeafOperator.EQUAL, LeafOperator.NOT_EQUAL),
    (LeafOperator.BETWEEN, LeafOperator.OUTSIDE),
)
_OPPOSITES = {**dict(_PAIRS), **{second: first for first, second in _PAIRS}}


@dataclass(frozen=True, slots=True)
class Leaf(Generic[X]):
    """A value against its level, or against the low and the high bound of its channel.

    ``number`` counts the leaves of the rule from 0, left to right; sides are remembered by it.
    """

    left: X
    operator: LeafOperator
    levels: tuple[X, ...]
    number: int = 0

    @property
    def operands(self) -> tuple[X, ...]:
        """The value, then its level or bounds."""
        return (self.left, *self.levels)


@dataclass(frozen=True, slots=True)
class AllOf(Generic[X]):
    """True if every part is true."""

    parts: tuple[Tree[X], ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Generic[X]):
    """True if at least one part is true."""

    parts: tuple[Tree[X], ...]


@dataclass(frozen=True, slots=True)
class Not(Generic[X]):
    """True if the inner rule is false."""

    inner: Tree[X]


Tree = Leaf[X] | AllOf[X] | AnyOf[X] | Not[X]
Rule = Tree[Operand]


def leaves(tree: Tree[X]) -> Iterator[Leaf[X]]:
    """Yield the leaves, left to right."""
    match tree:
        case Leaf():
            yield tree
        case Not(inner):
            yield from leaves(inner)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)


def with_leaves(tree: Tree[X], change: Callable[[Leaf[X]], Leaf[Y]]) -> Tree[Y]:
    """Return the same tree over other leaves; ``change`` is called for each, left to right."""
    match tree:
        case Leaf():
            return change(tree)
        case Not(inner):
            return Not(with_leaves(inner, change))
        case AllOf(parts):
            return AllOf(tuple(with_leaves(part, change) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(with_leaves(part, change) for part in parts))


def without_negations(tree: Tree[X], *, is_negated: bool = False) -> Tree[X]:
    """Return the tree with every NOT pushed down into the leaves; one stays around a negated event.

    Source: De Morgan; ``>`` and ``<=``, ``<`` and ``>=``, ``==`` and ``!=``, ``between`` and ``outside`` swap.
    """
    match tree:
        case Not(inner):
            return without_negations(inner, is_negated=not is_negated)
        case Leaf(left, operator, levels, number):
            if not is_negated:
                return tree
            return Not(tree) if operator.is_event else Leaf(left, operator.opposite, levels, number)
        case AllOf(parts) | AnyOf(parts):
            inner_parts = tuple(without_negations(part, is_negated=is_negated) for part in parts)
            return AllOf(inner_parts) if isinstance(tree, AllOf) is not is_negated else AnyOf(inner_parts)
