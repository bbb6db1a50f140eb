"""Rules as people read them: ``rsi(14) > 70 and close crosses above sma(50)``. Pure.

Of a rule that was checked; the line that a user may type is the business of ``line_text``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isnan

from atf.market.bars import FloatArray
from atf.rules.moved_away import Edges
from atf.rules.operands import Constant, Operand
from atf.rules.rule import AllOf, AnyOf, Leaf, Not, Rule


def rule_words(rule: Rule) -> str:
    """Return a rule in one line, in parentheses where its groups would run into each other."""
    return joined_words(rule, leaf_words)


def joined_words(rule: Rule, words: Callable[[Leaf[Operand]], str], *, is_opposite: bool = False) -> str:
    """Return a tree with the words of its leaves.

    ``is_opposite``: what must be so for it to be false, where the words of a leaf say when that one is.
    """
    match rule:
        case Leaf():
            return words(rule)
        case Not(inner):
            text = _bound(inner, words, is_opposite=False)
            return text if is_opposite else f"not {text}"
        case AllOf(parts) | AnyOf(parts):
            sign = " and " if isinstance(rule, AllOf) is not is_opposite else " or "
            return sign.join(_bound(part, words, is_opposite=is_opposite) for part in parts)


def _bound(rule: Rule, words: Callable[[Leaf[Operand]], str], *, is_opposite: bool) -> str:
    text = joined_words(rule, words, is_opposite=is_opposite)
    return f"({text})" if isinstance(rule, AllOf | AnyOf) and len(rule.parts) > 1 else text


def leaf_words(leaf: Leaf[Operand]) -> str:
    """Return a leaf such as ``close crosses above 150``."""
    levels = [operand_words(level) for level in leaf.levels]
    level = f"[{', '.join(levels)}]" if leaf.operator.has_channel else levels[0]
    return f"{operand_words(leaf.left)} {str(leaf.operator).replace('_', ' ')} {level}"


def operand_words(operand: Operand) -> str:
    """Return an operand such as ``rsi(14)`` or ``70``."""
    return number_words(operand.value) if isinstance(operand, Constant) else str(operand)


def number_words(value: float | None) -> str:
    """Return a number with as many digits as a price has."""
    return "missing" if value is None or isnan(value) else f"{value:.10g}"


def edges_words(name: str, edges: Edges) -> str:
    """Return where a value has moved away, of edges at one bar: ``close <= 147``."""
    low, high = _at(edges.below), _at(edges.above)
    if any(edge is not None and isnan(edge) for edge in (low, high)):
        return "a level that is not known yet"
    at_most, at_least = ("<=", ">=") if edges.has_edge else ("<", ">")
    if low is not None and high is not None and edges.is_within:
        return _within(name, high, low, at_most)
    parts = []
    if low is not None:
        parts.append(f"{name} {at_most} {number_words(low)}")
    if high is not None:
        parts.append(f"{name} {at_least} {number_words(high)}")
    return " or ".join(parts)


def _within(name: str, low: float, high: float, sign: str) -> str:
    if low == high and sign == "<=":
        return f"{name} == {number_words(low)}"
    if low > high or low == high:
        return "no value, as the channel is narrower than the way to move"
    return f"{number_words(low)} {sign} {name} {sign} {number_words(high)}"


def _at(edge: FloatArray | None) -> float | None:
    return None if edge is None else float(edge[0])
