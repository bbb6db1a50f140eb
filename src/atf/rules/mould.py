"""Rules that differ in their numbers alone are parsed once: the form is kept, and numbers are cast into it. Pure.

A hundred thousand alerts are a few forms, such as "the price above a level" or "RSI(14) above a level": parsing
each anew takes most of the time of a start. A form is the canonical JSON of a rule with holes for levels and
factors; what else differs, such as periods, is another form. What does not fit is parsed in full, which says what
is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, nan
from typing import Any, Final

from atf.rules.grammar import parse_rule
from atf.rules.operands import ColumnOperand, Constant, IndicatorOperand, Operand
from atf.rules.rule import Leaf, Rule, leaves, with_leaves
from atf.rules.shape import Shape, shape_of

_MOST_MOULDS: Final = 10_000
_HOLE: Final = "NaN"
"""No JSON of a user has this as a number, and a form in which it stands as a text is not used."""

# allow_nan: of a hole. Sorted and without blanks, as the hash of a rule is taken over this text.
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_WITH_DOUBLES: Final = json.JSONDecoder(parse_int=float)

Numbers = Sequence[float | None]
"""The number of each operand, left to right: a level, or the factor of what is measured if it has one."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule, taken apart into shape and operands; ``text`` is its canonical JSON, all numbers doubles.

    Equal shapes are one object.
    """

    rule: Rule
    shape: Shape
    operands: tuple[Operand, ...]
    text: str


def compile_rule(node: object) -> CompiledRule:
    """Return the rule of a JSON node.

    Errors: as ``parse_rule``; TypeError or ValueError for what is no JSON.
    """
    numbers: list[float | None] = []
    try:
        form = _CANONICAL.encode(_emptied(node, numbers))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _in_full(node)
    mould = _MOULDS.get(form)
    if mould is None:
        mould = _mould(node, form)
    return mould.cast(numbers) if mould.fits(numbers) else _in_full(node)


@dataclass(frozen=True, slots=True)
class _Mould:
    """``pieces`` are the canonical text between the holes; ``channels`` the numbers of low and high bounds."""

    rule: Rule
    shape: Shape
    operands: tuple[Operand, ...]
    pieces: tuple[str, ...]
    channels: tuple[tuple[int, int], ...]

    def fits(self, numbers: Numbers) -> bool:
        """Tell whether a rule of this form with these numbers is one that parsing would accept."""
        holes = [number for number in numbers if number is not None]
        return (
            len(numbers) == len(self.operands)
            and len(holes) == len(self.pieces) - 1
            and all(map(isfinite, holes))
            and all(not _is_wrong_way_round(numbers[low], numbers[high]) for low, high in self.channels)
        )

    def cast(self, numbers: Numbers) -> CompiledRule:
        """Return the rule with these numbers."""
        operands = tuple(map(_with_number, self.operands, numbers))
        following = iter(operands)

        def filled(leaf: Leaf[Operand]) -> Leaf[Operand]:
            left = next(following)
            return Leaf(left, leaf.operator, tuple([next(following) for _ in leaf.levels]), leaf.number)

        holes = [repr(number) for number in numbers if number is not None]
        text = "".join([part for pair in zip(self.pieces, [*holes, ""], strict=True) for part in pair])
        return CompiledRule(with_leaves(self.rule, filled), self.shape, operands, text)


_MOULDS: Final[dict[str, _Mould]] = {}


def _mould(node: object, form: str) -> _Mould:
    rule = parse_rule(node)
    shape, operands = shape_of(rule)
    pieces = tuple(with_doubles(form).split(_HOLE))
    mould = _Mould(rule, _shared(shape), operands, pieces, tuple(_channels(rule)))
    if len(_MOULDS) >= _MOST_MOULDS:
        _MOULDS.clear()
    _MOULDS[form] = mould
    return mould


def _in_full(node: object) -> CompiledRule:
    rule = parse_rule(node)
    shape, operands = shape_of(rule)
    return CompiledRule(rule, _shared(shape), operands, with_doubles(_CANONICAL.encode(node)))


def with_doubles(text: str) -> str:
    """Return canonical JSON with all numbers as doubles."""
    # Through the parser, as that makes doubles of all integers many times faster than walking the tree does.
    return _CANONICAL.encode(_WITH_DOUBLES.decode(text))


@lru_cache(maxsize=65_536)
def _shared(shape: Shape) -> Shape:
    return shape


def _channels(rule: Rule) -> Iterator[tuple[int, int]]:
    """Yield the places of the bounds of each channel whose bounds both are levels."""
    place = 0
    for leaf in leaves(rule):
        bounds = leaf.levels
        if len(bounds) > 1 and all(isinstance(bound, Constant) for bound in bounds):
            yield place + 1, place + 2
        place += 1 + len(bounds)


def _is_wrong_way_round(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high


def _with_number(operand: Operand, number: float | None) -> Operand:
    if number is None:
        return operand
    match operand:
        case Constant():
            return Constant(number)
        case ColumnOperand():
            return ColumnOperand(operand.column, operand.offset, number)
        case IndicatorOperand():
            return IndicatorOperand(operand.request, operand.offset, number)


# --- from a rule to its form; what is no rule goes through unchanged, as parsing has the words for it


def _emptied(node: object, numbers: list[float | None]) -> object:
    """Return a node with holes, and add the number of each operand, in order."""
    if type(node) is not dict:
        return node
    conditions = node.get("conditions")
    if type(conditions) is list:
        return {**node, "conditions": [_emptied(condition, numbers) for condition in conditions]}
    leaf = _measured(node, numbers)
    if "value" not in node:
        return leaf
    value = node["value"]
    if type(value) is list:
        return {**leaf, "value": [_level(bound, numbers) for bound in value]}
    return {**leaf, "value": _level(value, numbers)}


def _level(value: object, numbers: list[float | None]) -> object:
    if type(value) is float or type(value) is int:
        numbers.append(float(value))
        return nan
    return _measured(value, numbers) if type(value) is dict else value


def _measured(fields: Mapping[str, Any], numbers: list[float | None]) -> Mapping[str, Any]:
    factor = fields.get("multiplier")
    if type(factor) is float or type(factor) is int:
        numbers.append(float(factor))
        return {**fields, "multiplier": nan}
    numbers.append(None)
    return fields
