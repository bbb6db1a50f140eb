"""From the JSON of a rule to the rule tree, with the JSON path in every refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import count
from math import isfinite
from typing import Any, Final

from atf.errors import InvalidInput, Problems, shown
from atf.indicators import registry
from atf.indicators.indicator import IndicatorRequest
from atf.market.bars import COLUMNS
from atf.rules.operands import ColumnOperand, Constant, IndicatorOperand, Measured, Operand
from atf.rules.rule import AllOf, AnyOf, Leaf, LeafOperator, Not, Rule

_GROUPS: Final = ("and", "or", "not")
_OPERATORS: Final = tuple(map(str, LeafOperator))
_OPERAND_FIELDS: Final = frozenset({"indicator", "params", "output", "offset", "multiplier"})
_LEAF_FIELDS: Final = _OPERAND_FIELDS | {"operator", "value"}
_COLUMN_OF: Final = {"price": "close", **{name: name for name in COLUMNS}}
_MOST_DEPTH: Final = 50
_MOST_OFFSET: Final = 5_000


def parse_rule(node: object, path: str = "rule") -> Rule:
    """Return the rule of a JSON node, its leaves numbered from left to right.

    Errors: InvalidInput with all problems; the field of each is its path: ``rule.conditions[1].indicator``.
    """
    return _rule(node, path, 0, count())


def _rule(node: object, path: str, depth: int, numbers: Iterator[int]) -> Rule:
    fields = _object(node, path)
    if depth > _MOST_DEPTH:
        raise InvalidInput(f"nested more than {_MOST_DEPTH} deep", field=path)
    if "conditions" in fields or fields.get("operator") in _GROUPS:
        return _group(fields, path, depth, numbers)
    return _leaf(fields, path, numbers)


def _group(fields: Mapping[str, Any], path: str, depth: int, numbers: Iterator[int]) -> Rule:
    problems = Problems()
    with problems:
        _only(fields, frozenset({"operator", "conditions"}), path)
    operator, conditions = fields.get("operator"), fields.get("conditions")
    if operator not in _GROUPS:
        problems.add(
            InvalidInput(f"must be one of and, or, not; got {shown(operator)}", field=f"{path}.operator")
        )
    where = f"{path}.conditions"
    if not isinstance(conditions, list) or not conditions:
        problems.add(InvalidInput("must be a list with at least one condition", field=where))
        conditions = []
    if operator == "not" and len(conditions) > 1:
        problems.add(InvalidInput(f"'not' takes exactly one condition, got {len(conditions)}", field=where))
    parts: list[Rule] = []
    for index, condition in enumerate(conditions):
        with problems:
            parts.append(_rule(condition, f"{where}[{index}]", depth + 1, numbers))
    problems.raise_any()
    if operator == "not":
        return Not(parts[0])
    return AllOf(tuple(parts)) if operator == "and" else AnyOf(tuple(parts))


def _leaf(fields: Mapping[str, Any], path: str, numbers: Iterator[int]) -> Leaf[Operand]:
    problems = Problems()
    with problems:
        _only(fields, _LEAF_FIELDS, path)
    for required in ("indicator", "operator", "value"):
        if required not in fields:
            problems.add(InvalidInput("is missing", field=f"{path}.{required}"))
    found: list[Any] = []
    if "indicator" in fields:
        with problems:
            found.append(_measured(fields, path))
    if "operator" in fields:
        with problems:
            found.append(operator := _operator(fields["operator"], path))
            if "value" in fields:
                found.append(_levels(fields["value"], operator, f"{path}.value"))
    problems.raise_any()
    left, operator, levels = found
    return Leaf(left, operator, levels, next(numbers))


def _operator(found: object, path: str) -> LeafOperator:
    if isinstance(found, str) and found in _OPERATORS:
        return LeafOperator(found)
    raise InvalidInput(
        f"unknown operator {shown(found)}{_suggestion(found, [*_OPERATORS, *_GROUPS])}", field=f"{path}.operator"
    )


def _levels(value: object, operator: LeafOperator, path: str) -> tuple[Operand, ...]:
    if not operator.has_channel:
        return (_level(value, path),)
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidInput(f"'{operator}' takes a list of two, [low, high]; got {shown(value)}", field=path)
    problems = Problems()
    bounds: list[Operand] = []
    for index, bound in enumerate(value):
        with problems:
            bounds.append(_level(bound, f"{path}[{index}]"))
    problems.raise_any()
    low, high = bounds
    if isinstance(low, Constant) and isinstance(high, Constant) and low.value > high.value:
        raise InvalidInput(f"low must not exceed high, got {shown(value)}", field=path)
    return tuple(bounds)


def _level(value: object, path: str) -> Operand:
    if isinstance(value, Mapping):
        problems = Problems()
        with problems:
            _only(value, _OPERAND_FIELDS, path)
        with problems:
            operand = _measured(value, path)
        problems.raise_any()
        return operand
    return Constant(_number(value, path, "must be a finite number or an operand object"))


def _measured(fields: Mapping[str, Any], path: str) -> Measured:
    name = fields.get("indicator")
    if not isinstance(name, str):
        raise InvalidInput(f"must be a name, got {shown(name)}", field=f"{path}.indicator")
    problems = Problems()
    with problems:
        offset = _offset(fields, path)
    with problems:
        multiplier = _multiplier(fields, path)
    with problems:
        read = _read(name, fields, path)
    problems.raise_any()
    if isinstance(read, str):
        return ColumnOperand(read, offset, multiplier)
    return IndicatorOperand(read, offset, multiplier)


def _read(name: str, fields: Mapping[str, Any], path: str) -> str | IndicatorRequest:
    if name in _COLUMN_OF:
        for field in ("params", "output"):
            if field in fields:
                raise InvalidInput(f"'{name}' takes no {field}", field=f"{path}.{field}")
        return _COLUMN_OF[name]
    if not registry.is_known(name):
        raise InvalidInput(_unknown_indicator(name), field=f"{path}.indicator")
    return registry.resolve(name, fields.get("params", {}), fields.get("output"), field=path)


def _unknown_indicator(name: str) -> str:
    known = [*_COLUMN_OF, *registry.names()]
    return f"unknown indicator '{name}'{_suggestion(name, known)}"


def _suggestion(found: object, known: Sequence[str]) -> str:
    close = get_close_matches(str(found).lower(), known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; allowed: {', '.join(known)}"


def _offset(fields: Mapping[str, Any], path: str) -> int:
    offset = fields.get("offset", 0)
    if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset <= _MOST_OFFSET:
        raise InvalidInput(
            f"must be a whole number of bars from 0 to {_MOST_OFFSET}, got {shown(offset)}",
            field=f"{path}.offset",
        )
    return offset


def _multiplier(fields: Mapping[str, Any], path: str) -> float:
    return _number(fields.get("multiplier", 1.0), f"{path}.multiplier", "must be a finite number")


def _number(found: object, where: str, message: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InvalidInput(f"{message}, got {shown(found)}", field=where)
    try:
        number = float(found)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise InvalidInput(f"{message}, got {shown(found)}", field=where)
    return number


def _object(node: object, path: str) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise InvalidInput(f"must be an object, got {shown(node)}", field=path)
    return node


def _only(fields: Mapping[str, Any], allowed: frozenset[str], path: str) -> None:
    problems = Problems()
    for name in fields:
        if name not in allowed:
            problems.add(
                InvalidInput(f"unknown field{_suggestion(name, sorted(allowed))}", field=f"{path}.{name}")
            )
    problems.raise_any()
