"""From the JSON of a rule to the rule tree, with the JSON path in every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final

from atf.errors import InvalidInput, shown
from atf.indicators import registry
from atf.market.bars import COLUMNS
from atf.rules.operands import ColumnOperand, Constant, IndicatorOperand, Measured, Operand
from atf.rules.rule import AllOf, AnyOf, Comparator, Comparison, Not, Rule

_GROUPS: Final = ("and", "or", "not")
_OPERAND_FIELDS: Final = frozenset({"indicator", "params", "output", "offset", "multiplier"})
_LEAF_FIELDS: Final = _OPERAND_FIELDS | {"operator", "value"}
_COLUMN_OF: Final = {"price": "close", **{name: name for name in COLUMNS}}
_MOST_DEPTH: Final = 50
_MOST_OFFSET: Final = 5_000


def parse_rule(node: object, path: str = "rule", *, depth: int = 0) -> Rule:
    """Return the rule of a JSON node.

    Errors: InvalidInput whose field is the JSON path, such as ``rule.conditions[1].indicator``.
    """
    fields = _object(node, path)
    if depth > _MOST_DEPTH:
        raise InvalidInput(f"nested more than {_MOST_DEPTH} deep", field=path)
    if "conditions" in fields or fields.get("operator") in _GROUPS:
        return _group(fields, path, depth)
    return _leaf(fields, path)


def _group(fields: Mapping[str, Any], path: str, depth: int) -> Rule:
    _only(fields, frozenset({"operator", "conditions"}), path)
    operator = fields.get("operator")
    if operator not in _GROUPS:
        raise InvalidInput(f"must be one of and, or, not; got {shown(operator)}", field=f"{path}.operator")
    conditions = fields.get("conditions")
    where = f"{path}.conditions"
    if not isinstance(conditions, list) or not conditions:
        raise InvalidInput("must be a list with at least one condition", field=where)
    parts = tuple(parse_rule(part, f"{where}[{i}]", depth=depth + 1) for i, part in enumerate(conditions))
    if operator == "not":
        if len(parts) != 1:
            raise InvalidInput(f"'not' takes exactly one condition, got {len(parts)}", field=where)
        return Not(parts[0])
    return AllOf(parts) if operator == "and" else AnyOf(parts)


def _leaf(fields: Mapping[str, Any], path: str) -> Comparison:
    _only(fields, _LEAF_FIELDS, path)
    for required in ("indicator", "operator", "value"):
        if required not in fields:
            raise InvalidInput("is missing", field=f"{path}.{required}")
    return Comparison(_measured(fields, path), _comparator(fields["operator"], path), _level(fields, path))


def _comparator(found: object, path: str) -> Comparator:
    if isinstance(found, str) and found in list(Comparator):
        return Comparator(found)
    allowed = " ".join(Comparator)
    raise InvalidInput(
        f"unknown operator {shown(found)}; allowed: {allowed} and or not", field=f"{path}.operator"
    )


def _level(fields: Mapping[str, Any], path: str) -> Operand:
    value = fields["value"]
    where = f"{path}.value"
    if isinstance(value, Mapping):
        _only(value, _OPERAND_FIELDS, where)
        return _measured(value, where)
    return Constant(_number(value, where, "must be a finite number or an operand object"))


def _measured(fields: Mapping[str, Any], path: str) -> Measured:
    name = fields.get("indicator")
    if not isinstance(name, str):
        raise InvalidInput(f"must be a name, got {shown(name)}", field=f"{path}.indicator")
    offset, multiplier = _offset(fields, path), _multiplier(fields, path)
    if name in _COLUMN_OF:
        for field in ("params", "output"):
            if field in fields:
                raise InvalidInput(f"'{name}' takes no {field}", field=f"{path}.{field}")
        return ColumnOperand(_COLUMN_OF[name], offset, multiplier)
    if not registry.is_known(name):
        raise InvalidInput(_unknown_indicator(name), field=f"{path}.indicator")
    request = registry.resolve(name, fields.get("params", {}), fields.get("output"), field=path)
    return IndicatorOperand(request, offset, multiplier)


def _unknown_indicator(name: str) -> str:
    known = [*_COLUMN_OF, *registry.names()]
    close = get_close_matches(name.lower(), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"
    return f"unknown indicator '{name}'{hint}"


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
    for name in fields:
        if name not in allowed:
            close = get_close_matches(str(name), allowed, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; allowed: {', '.join(sorted(allowed))}"
            raise InvalidInput(f"unknown field{hint}", field=f"{path}.{name}")
