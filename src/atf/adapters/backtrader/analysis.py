"""What Backtrader's analyzers found out, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import backtrader as bt

_ANALYZERS: Final = (bt.analyzers.TradeAnalyzer, bt.analyzers.DrawDown, bt.analyzers.Returns)


def add_analyzers(cerebro: Any) -> None:
    """Let a strategy's trades, losses and returns be analyzed."""
    for analyzer in _ANALYZERS:
        cerebro.addanalyzer(analyzer)


def analysis_of(strategy: Any) -> dict[str, Any]:
    """Return what each analyzer says, by its name in lower case; one that came to no end is left out."""
    found = strategy.analyzers.getitems()
    return {name: _plain(one.get_analysis()) for name, one in found if getattr(one, "is_complete", False)}


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(name): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case float():
            return float(value) if isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)
