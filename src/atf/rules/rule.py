"""The rule tree and its evaluation: pure, total, three-valued.

Missing data is its own answer: with plain booleans ``not (rsi > 70)`` would fire when the feed is down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import isnan
from typing import Self

from atf.rules.operands import Constant, Measured, Operand

Readings = Mapping[Measured, float]
"""The value of every measured operand on one bar; NaN where it is unknown."""


class Verdict(Enum):
    """Kleene's three truth values."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, truth: bool) -> Self:
        """Return the verdict of a known comparison."""
        return cls.TRUE if truth else cls.FALSE

    def negated(self) -> Verdict:
        """Return the opposite; unknown stays unknown."""
        match self:
            case Verdict.TRUE:
                return Verdict.FALSE
            case Verdict.FALSE:
                return Verdict.TRUE
            case Verdict.UNKNOWN:
                return Verdict.UNKNOWN


class Comparator(StrEnum):
    """Leaf operators; doubles are compared exactly, without tolerance."""

    GREATER = ">"
    GREATER_EQUAL = ">="
    LESS = "<"
    LESS_EQUAL = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="

    def holds(self, left: float, right: float) -> bool:
        """Return whether the comparison is true of two known numbers."""
        match self:
            case Comparator.GREATER:
                return left > right
            case Comparator.GREATER_EQUAL:
                return left >= right
            case Comparator.LESS:
                return left < right
            case Comparator.LESS_EQUAL:
                return left <= right
            case Comparator.EQUAL:
                return left == right
            case Comparator.NOT_EQUAL:
                return left != right


@dataclass(frozen=True, slots=True)
class Comparison:
    """A leaf: a measured operand against a level."""

    left: Measured
    comparator: Comparator
    right: Operand


@dataclass(frozen=True, slots=True)
class AllOf:
    """True if every part is true."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True if at least one part is true."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True if the inner rule is false."""

    inner: Rule


Rule = Comparison | AllOf | AnyOf | Not


def evaluate(rule: Rule, readings: Readings) -> Verdict:
    """Return the rule's truth on one bar.

    Every part is evaluated, also when the answer is already known: leaves that remember sides need each bar.
    """
    match rule:
        case Comparison(left, comparator, right):
            return _compare(value_of(left, readings), comparator, value_of(right, readings))
        case Not(inner):
            return evaluate(inner, readings).negated()
        case AllOf(parts):
            return _all([evaluate(part, readings) for part in parts])
        case AnyOf(parts):
            return _all([evaluate(part, readings).negated() for part in parts]).negated()


def value_of(operand: Operand, readings: Readings) -> float:
    """Return an operand's value on the bar, NaN if it is unknown."""
    return operand.value if isinstance(operand, Constant) else readings[operand]


def leaves(rule: Rule) -> Iterator[Comparison]:
    """Yield the comparisons of a rule, left to right."""
    match rule:
        case Comparison():
            yield rule
        case Not(inner):
            yield from leaves(inner)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)


def measured_operands(rule: Rule) -> tuple[Measured, ...]:
    """Return every operand that must be read off the bars, each once, in order of appearance."""
    seen: dict[Measured, None] = {}
    for leaf in leaves(rule):
        for operand in (leaf.left, leaf.right):
            if not isinstance(operand, Constant):
                seen[operand] = None
    return tuple(seen)


def _compare(left: float, comparator: Comparator, right: float) -> Verdict:
    if isnan(left) or isnan(right):
        return Verdict.UNKNOWN
    return Verdict.of(comparator.holds(left, right))


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    answers = set(verdicts)
    if Verdict.FALSE in answers:
        return Verdict.FALSE
    return Verdict.UNKNOWN if Verdict.UNKNOWN in answers else Verdict.TRUE
