"""The alerts that the demo watches with: a few that people really set, on each of its shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from atf.alerts.alerts_service import NewAlert

CHANNELS: Final = ("console", "inbox")
# Daily bars close at midnight UTC; the sessions of Monday to Friday close on Tuesday to Saturday.
CRON: Final = "0 0 * * 2-6"

_Rule = Mapping[str, Any]


def _leaf(indicator: str, operator: str, value: object, **params: int) -> _Rule:
    leaf: dict[str, Any] = {"indicator": indicator, "operator": operator, "value": value}
    return {**leaf, "params": params} if params else leaf


def _average(period: int, column: str = "close", multiplier: float = 1.0, offset: int = 0) -> _Rule:
    return {
        "indicator": "sma",
        "params": {"period": period, "source": column},
        "multiplier": multiplier,
        "offset": offset,
    }


_TEMPLATES: Final[tuple[tuple[str, _Rule, _Rule], ...]] = (
    ("overbought", _leaf("rsi", ">", 70), {"type": "edge"}),
    ("oversold", _leaf("rsi", "<", 30), {"type": "cooldown", "cooldown": 10 * 86_400}),
    ("above its 50-day average", _leaf("price", ">", _average(50)), {"type": "edge", "bars": 3}),
    (
        "strong and rising",
        {"operator": "and", "conditions": [_leaf("rsi", ">", 60), _leaf("sma", ">", _average(50), period=20)]},
        {"type": "persistence", "bars": 5},
    ),
    (
        "neither calm nor rising",
        {
            "operator": "not",
            "conditions": [
                {"operator": "or", "conditions": [_leaf("rsi", ">=", 45), _leaf("price", ">=", _average(20))]}
            ],
        },
        {"type": "edge"},
    ),
    (
        "twice the usual volume",
        _leaf("volume", ">", _average(20, "volume", multiplier=2.0, offset=1)),
        {"type": "simple"},
    ),
)


def demo_alerts(symbol: str, channels: Sequence[str] = CHANNELS) -> list[NewAlert]:
    """Return the demo's alerts for one share."""
    return [
        NewAlert(
            config={
                "ticker": symbol,
                "timeframe": "1d",
                "rule": rule,
                "rearm": rearm,
                "notify": {
                    "channels": list(channels),
                    "message_template": f"{{ticker}} {label}: {{value}} (level {{threshold}}), close {{close}}",
                },
            },
            name=f"{symbol} {label}",
            cron=CRON,
        )
        for label, rule, rearm in _TEMPLATES
    ]
