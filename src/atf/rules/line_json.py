"""From the words of a line to the JSON of an alert, and the place in the line of every field. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from lark import Token

from atf.indicators import registry
from atf.indicators.indicator import Indicator
from atf.market.bars import Timeframe
from atf.rules.line_clauses import Places, add_clauses, text_of
from atf.rules.line_error import LineProblem, Span, quoted
from atf.rules.line_found import COLUMN_NAMES
from atf.rules.line_syntax import (
    AlertSyntax,
    Argument,
    Comparison,
    Condition,
    Group,
    Number,
    Operand,
    Reading,
    finite,
    span_of,
)

_DEFAULT_TIMEFRAME: Final = Timeframe.M1
_IN_PERCENT: Final = ("change_pct", "roc")
_TURNED: Final = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


def alert_json(syntax: AlertSyntax) -> tuple[dict[str, Any], Places]:
    """Return the configuration of an alert, and where its fields stand. Errors: LineProblem."""
    places: Places = {"ticker": span_of(syntax.ticker)}
    ticker = text_of(syntax.ticker) if syntax.ticker.type == "STRING" else str(syntax.ticker)
    config: dict[str, Any] = {
        "ticker": ticker,
        "timeframe": _timeframe(syntax.timeframe),
        "rule": _RuleWriter(ticker, places).condition(syntax.rule, "rule"),
    }
    if syntax.timeframe is not None:
        places["timeframe"] = span_of(syntax.timeframe)
    add_clauses(config, syntax.clauses, places)
    return config, places


def rule_json(rule: Condition) -> tuple[dict[str, Any], Places]:
    """Return the JSON of a rule, and where its fields stand. Errors: LineProblem."""
    places: Places = {}
    return _RuleWriter(None, places).condition(rule, "rule"), places


def _timeframe(token: Token | None) -> str:
    if token is None:
        return str(_DEFAULT_TIMEFRAME)
    # A capital M is a month elsewhere, and would become a minute here.
    text = str(token) if token.endswith("M") else token.lower()
    if text not in list(Timeframe):
        raise LineProblem(
            f"unknown timeframe {quoted(token)}; allowed: {', '.join(map(str, Timeframe))}", span_of(token)
        )
    return text


class _RuleWriter:
    """Writes the JSON of a rule, and notes where its parts stand."""

    def __init__(self, ticker: str | None, places: Places) -> None:
        self._ticker = ticker
        self._places = places

    def condition(self, node: Condition, path: str) -> dict[str, Any]:
        """Return the JSON of a node; ``path`` is where it will be."""
        self._places[path] = node.span
        if isinstance(node, Group):
            where = f"{path}.conditions"
            parts = [self.condition(part, f"{where}[{index}]") for index, part in enumerate(node.parts)]
            return {"operator": node.operator, "conditions": parts}
        return self._leaf(node, path)

    def _leaf(self, node: Comparison, path: str) -> dict[str, Any]:
        node = _turned(node)
        self._places[f"{path}.operator"] = node.span
        fields: dict[str, Any] = {"indicator": "price"}
        if isinstance(node.left, Reading):
            fields = self._reading(node.left, path)
        _check_percent(node, fields["indicator"])
        where = f"{path}.value"
        if len(node.levels) == 1:
            value: Any = self._level(node.levels[0], where)
        else:
            self._places[where] = node.levels[0].span
            value = [self._level(level, f"{where}[{index}]") for index, level in enumerate(node.levels)]
        return {**fields, "operator": node.operator, "value": value}

    def _level(self, level: Operand, path: str) -> Any:
        self._places[path] = level.span
        return level.value if isinstance(level, Number) else self._reading(level, path)

    def _reading(self, reading: Reading, path: str) -> dict[str, Any]:
        name = self._name(reading.name)
        self._places[f"{path}.indicator"] = reading.span
        fields: dict[str, Any] = {"indicator": name}
        if reading.arguments is not None and (reading.arguments or name in COLUMN_NAMES):
            fields["params"] = self._params(name, reading.arguments, path, reading.span)
        for field, token in (
            ("output", reading.output),
            ("offset", reading.offset),
            ("multiplier", reading.factor),
        ):
            if token is not None:
                self._places[f"{path}.{field}"] = span_of(token)
                fields[field] = token.lower() if field == "output" else finite(token)
        return fields

    def _name(self, token: Token) -> str:
        """Return the known name in the case in which it is known; the ticker itself is its price."""
        if _is_known(token):
            return str(token)
        if token == self._ticker:
            if _is_known(token.lower()):
                raise LineProblem(
                    f"{quoted(token)} is the ticker and also the name {quoted(token.lower())}; "
                    f"write 'price' or {quoted(token.lower())}",
                    span_of(token),
                )
            return "price"
        return token.lower() if _is_known(token.lower()) else str(token)

    def _params(
        self, name: str, arguments: tuple[Argument, ...], path: str, span: Span
    ) -> dict[str, int | float | str]:
        self._places[f"{path}.params"] = arguments[0].span if arguments else span
        declared = _declared(name)
        params: dict[str, int | float | str] = {}
        are_named = False
        for index, argument in enumerate(arguments):
            if argument.name is None and are_named:
                raise LineProblem("a parameter without a name cannot follow one with a name", argument.span)
            are_named = argument.name is not None
            key = _key(name, declared, index, argument)
            if key in params:
                raise LineProblem(f"{quoted(key)} of {name} is given twice", argument.span)
            params[key] = argument.value
            self._places[f"{path}.params.{key}"] = argument.span
        return params


def _key(name: str, declared: tuple[str, ...], index: int, argument: Argument) -> str:
    if argument.name is not None:
        return argument.name if argument.name in declared else argument.name.lower()
    if index < len(declared):
        return declared[index]
    if _is_known(name) and name not in COLUMN_NAMES:
        takes = f"{len(declared)} parameters: {', '.join(declared)}" if declared else "no parameters"
        raise LineProblem(f"{name} takes {takes}", argument.span)
    return f"parameter {index + 1}"  # of a name that is refused as a whole


def _is_known(name: str) -> bool:
    return name in COLUMN_NAMES or registry.is_known(name)


def _declared(name: str) -> tuple[str, ...]:
    found = indicator_named(name)
    return tuple(parameter.name for parameter in found.parameters) if found else ()


def indicator_named(name: str) -> Indicator | None:
    """Return the indicator with a name or alias, if there is one."""
    return next((one for one in registry.definitions() if name in (one.name, *one.aliases)), None)


def _turned(node: Comparison) -> Comparison:
    """Return ``rsi > 30`` for ``30 < rsi``."""
    if not isinstance(node.left, Number):
        return node
    if node.operator in _TURNED and isinstance(node.levels[0], Reading):
        return replace(node, left=node.levels[0], operator=_TURNED[node.operator], levels=(node.left,))
    raise LineProblem(
        "a comparison begins with a price, the volume or an indicator, not with a number", node.left.span
    )


def _check_percent(node: Comparison, name: str) -> None:
    for level in node.levels:
        if isinstance(level, Number) and level.is_percent and name not in _IN_PERCENT:
            raise LineProblem(
                f"only {' and '.join(_IN_PERCENT)} are in percent, {name} is not; write a number, "
                "or a multiple such as close > 1.02 * close[1]",
                level.span,
            )
