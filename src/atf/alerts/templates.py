"""Common alerts by name: what each watches for, its parameters with their ranges, and the configuration it makes.

Pure. What comes out is a configuration like any other; ``atf.rules.line_text.line_of`` shows it as one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atf.alerts.alert import parse_alert
from atf.alerts.template_parameters import Amount, Bars, Choice, Parameter, Value
from atf.errors import InvalidAlertRule, InvalidInput, Problems, shown
from atf.market.bars import Timeframe
from atf.rules.line_error import meant

Params = Mapping[str, Any]

_DAY: Final = str(Timeframe.D1)


@dataclass(frozen=True, slots=True)
class Template:
    """A common alert; ``only_timeframe`` is set if its name makes sense on that one alone."""

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    rule: Callable[[Params], dict[str, Any]]
    only_timeframe: str | None = None


def template_named(name: str) -> Template:
    """Return a template. Errors: InvalidInput."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise InvalidInput(f"unknown template {shown(name)}{_advice(name, _BY_NAME)}", field="template")


def from_template(
    name: str, ticker: str, timeframe: str, params: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Return the configuration of a common alert; what is not given has its default.

    Errors: InvalidInput with all that is wrong; fields are ``template``, ``params.NAME``, and those of the
            configuration.
    """
    template = template_named(name)
    problems = Problems()
    if template.only_timeframe not in (None, timeframe):
        wanted = template.only_timeframe
        problems.add(InvalidInput(f"must be {wanted} for {name}, got {shown(timeframe)}", field="timeframe"))
    with problems:
        checked = _checked(template, params or {})
    problems.raise_any()
    config = {"ticker": ticker, "timeframe": timeframe, "rule": template.rule(checked)}
    parse_alert(config)
    return config


def _checked(template: Template, params: Mapping[str, object]) -> dict[str, Value]:
    known = {parameter.name: parameter for parameter in template.parameters}
    problems = Problems()
    for name in params:
        if name not in known:
            reason = f"unknown parameter of {template.name}{_advice(name, known)}"
            problems.add(InvalidInput(reason, field=f"params.{name}"))
    checked: dict[str, Value] = {}
    for name, parameter in known.items():
        with problems:
            checked[name] = _value(parameter, params)
    problems.raise_any()
    return checked


def _value(parameter: Parameter, params: Mapping[str, object]) -> Value:
    field = f"params.{parameter.name}"
    if parameter.name not in params and parameter.default is None:
        raise InvalidInput(f"is missing; give a number {parameter.allowed}", field=field)
    return parameter.check(params.get(parameter.name, parameter.default), field)


def _advice(name: object, known: Iterable[str]) -> str:
    question = meant(str(name), known)
    return f"; {question}" if question else f"; allowed: {', '.join(known)}"


def _leaf(left: str | Params, operator: str, value: Any) -> dict[str, Any]:
    operand = {"indicator": left} if isinstance(left, str) else dict(left)
    return {**operand, "operator": operator, "value": value}


def _average(period: int) -> dict[str, Any]:
    return {"indicator": "sma", "params": {"period": period}}


def _extreme(params: Params, output: str) -> dict[str, Any]:
    """Return the highest high or lowest low of the bars before this one."""
    return {"indicator": "donchian", "params": {"period": params["bars"]}, "output": output, "offset": 1}


def _averages_cross(operator: str) -> Callable[[Params], dict[str, Any]]:
    def rule(params: Params) -> dict[str, Any]:
        fast, slow = params["fast"], params["slow"]
        if fast >= slow:
            raise InvalidAlertRule(f"must be less than slow ({slow}), got {fast}", field="params.fast")
        return _leaf(_average(fast), operator, _average(slow))

    return rule


def _volume_spike(params: Params) -> dict[str, Any]:
    average = {
        "indicator": "sma",
        "params": {"period": params["lookback"], "source": "volume"},
        "offset": 1,
        "multiplier": params["factor"],
    }
    return _leaf("volume", ">", average)


def _rsi_beyond(operator: str) -> Callable[[Params], dict[str, Any]]:
    def rule(params: Params) -> dict[str, Any]:
        return _leaf({"indicator": "rsi", "params": {"period": params["period"]}}, operator, params["level"])

    return rule


def _channel_exit(params: Params) -> dict[str, Any]:
    bands = {"indicator": "bbands", "params": {"period": params["period"], "stddev": params["stddev"]}}
    return _leaf("close", "exits", [{**bands, "output": "lower"}, {**bands, "output": "upper"}])


def _move(params: Params) -> dict[str, Any]:
    percent, change = params["percent"], {"indicator": "change_pct", "params": {"bars": 1}}
    rules = {
        "up": _leaf(change, ">=", percent),
        "down": _leaf(change, "<=", -percent),
        "either": _leaf(change, "outside", [-percent, percent]),
    }
    return rules[params["direction"]]


def _gap(params: Params) -> dict[str, Any]:
    def beyond(operator: str, factor: float) -> dict[str, Any]:
        return _leaf("open", operator, {"indicator": "close", "offset": 1, "multiplier": factor})

    # Adding to 100 first keeps 2 % at the double that is nearest to 1.02.
    up = beyond(">=", (100 + params["percent"]) / 100)
    down = beyond("<=", (100 - params["percent"]) / 100)
    either = {"operator": "or", "conditions": [up, down]}
    return {"up": up, "down": down, "either": either}[params["direction"]]


_BARS: Final = Bars("bars", "how many bars before this one", 20)
_FAST: Final = Bars("fast", "bars of the fast average", 50, low=1)
_SLOW: Final = Bars("slow", "bars of the slow average", 200, low=2)
_RSI: Final = Bars("period", "bars of the RSI", 14)
_LEVEL: Final = Amount("level", "the price", None)
_DIRECTION: Final = Choice("direction", "which way", "either", ("up", "down", "either"))

TEMPLATES: Final = (
    Template(
        "breakout",
        "The close is above the highest high of the bars before.",
        (_BARS,),
        lambda params: _leaf("close", ">", _extreme(params, "upper")),
    ),
    Template(
        "breakdown",
        "The close is below the lowest low of the bars before.",
        (_BARS,),
        lambda params: _leaf("close", "<", _extreme(params, "lower")),
    ),
    Template(
        "golden_cross",
        "The fast moving average crosses above the slow one.",
        (_FAST, _SLOW),
        _averages_cross("crosses_above"),
    ),
    Template(
        "death_cross",
        "The fast moving average crosses below the slow one.",
        (_FAST, _SLOW),
        _averages_cross("crosses_below"),
    ),
    Template(
        "volume_spike",
        "The volume is above a multiple of its average over the bars before.",
        (
            Amount("factor", "how many times the average", 2.0, high=1000),
            Bars("lookback", "bars of the average", 20, low=1),
        ),
        _volume_spike,
    ),
    Template(
        "oversold",
        "The RSI is below a level.",
        (Amount("level", "of the RSI", 30, high=100), _RSI),
        _rsi_beyond("<"),
    ),
    Template(
        "overbought",
        "The RSI is above a level.",
        (Amount("level", "of the RSI", 70, high=100), _RSI),
        _rsi_beyond(">"),
    ),
    Template(
        "channel_exit",
        "The close leaves the Bollinger bands, after it was inside.",
        (
            Bars("period", "bars of the bands", 20),
            Amount("stddev", "deviations from the middle to a band", 2.0, high=100),
        ),
        _channel_exit,
    ),
    Template(
        "move_in_a_day",
        "The close is away from that of the day before by a percentage.",
        (Amount("percent", "of the close before", 5.0, high=1000), _DIRECTION),
        _move,
        only_timeframe=_DAY,
    ),
    Template(
        "gap",
        "The open is away from the close before by at least a percentage.",
        (Amount("percent", "of the close before", 2.0, high=99), _DIRECTION),
        _gap,
    ),
    Template(
        "price_above",
        "The price is above a level.",
        (_LEVEL,),
        lambda params: _leaf("price", ">", params["level"]),
    ),
    Template(
        "price_below",
        "The price is below a level.",
        (_LEVEL,),
        lambda params: _leaf("price", "<", params["level"]),
    ),
)
"""All templates, in the order in which they are shown."""

_BY_NAME: Final = {template.name: template for template in TEMPLATES}
