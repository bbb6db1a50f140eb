"""Configurations of earlier forms, made into those of today. Pure.

A legacy job has a ``condition`` and a ``threshold`` in place of a rule; see section 9 of the alert semantics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final

from atf.errors import InvalidAlertRule, Problems, shown

_FIELDS: Final = frozenset(
    {
        "symbol",
        "condition",
        "threshold",
        "lookback",
        "timeframe",
        "rearm",
        "notification_channels",
        "options",
        "schema_version",
    }
)
_DEFAULT_TIMEFRAME: Final = "1m"
_OVERSOLD: Final = 30
_SPIKE: Final = 2.0
_LOOKBACK: Final = 20


def is_legacy(config: object) -> bool:
    """Tell whether a configuration is that of a legacy job."""
    return isinstance(config, Mapping) and "condition" in config and "rule" not in config


def upgraded(config: object) -> Any:
    """Return a configuration of today; one that is of today already, or no object at all, is returned as it is.

    Errors: InvalidAlertRule with all that is wrong in a legacy job; each field is that of the legacy job.
    """
    if not isinstance(config, Mapping) or not is_legacy(config):
        return config
    _check(config)
    document = {
        "ticker": config["symbol"],
        "timeframe": config.get("timeframe", _DEFAULT_TIMEFRAME),
        "rule": _RULES[config["condition"]](config),
    }
    for name in ("rearm", "options", "schema_version"):
        if name in config:
            document[name] = config[name]
    if "notification_channels" in config:
        document["notify"] = {"channels": config["notification_channels"]}
    return document


def _check(config: Mapping[str, Any]) -> None:
    problems = Problems()
    condition, threshold = config["condition"], config.get("threshold")
    for name in config:
        if name not in _FIELDS:
            problems.add(InvalidAlertRule(f"unknown field{_hint(name, sorted(_FIELDS))}", field=str(name)))
    if not isinstance(condition, str) or condition not in _RULES:
        problems.add(
            InvalidAlertRule(
                f"unknown condition {shown(condition)}{_hint(condition, list(_RULES))}", field="condition"
            )
        )
    elif threshold is None and condition in ("price_above", "price_below"):
        problems.add(InvalidAlertRule("is missing", field="threshold"))
    if "symbol" not in config:
        problems.add(InvalidAlertRule("is missing", field="symbol"))
    if threshold is not None and not _is_number(threshold):
        problems.add(InvalidAlertRule(f"must be a finite number, got {shown(threshold)}", field="threshold"))
    lookback = config.get("lookback", _LOOKBACK)
    if type(lookback) is not int or not 1 <= lookback <= 1000:
        problems.add(
            InvalidAlertRule(
                f"must be a whole number of bars from 1 to 1000, got {shown(lookback)}", field="lookback"
            )
        )
    problems.raise_any(InvalidAlertRule)


def _hint(found: object, allowed: list[str]) -> str:
    close = get_close_matches(str(found), allowed, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; allowed: {', '.join(allowed)}"


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


def _price(operator: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda config: {"indicator": "price", "operator": operator, "value": config["threshold"]}


def _oversold(config: Mapping[str, Any]) -> dict[str, Any]:
    level = config.get("threshold", _OVERSOLD)
    return {"indicator": "rsi", "params": {"period": 14}, "operator": "<", "value": level}


def _spike(config: Mapping[str, Any]) -> dict[str, Any]:
    """Volume against the average of the bars before this one."""
    average = {
        "indicator": "sma",
        "params": {"period": config.get("lookback", _LOOKBACK), "source": "volume"},
        "offset": 1,
        "multiplier": config.get("threshold", _SPIKE),
    }
    return {"indicator": "volume", "operator": ">", "value": average}


_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "price_above": _price(">"),
    "price_below": _price("<"),
    "volume_spike": _spike,
    "rsi_oversold": _oversold,
}
