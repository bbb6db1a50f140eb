"""The demo's bots: three that trade on paper over the replayed prices."""

from __future__ import annotations

from typing import Any, Final

from atf.trading.bot_store import NewBot

CAPITAL: Final = 100_000
_BOTS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "apple follows the trend": ("AAPL", "sma_cross", {"fast": 5, "slow": 20}),
    "ibm buys weakness": ("IBM", "rsi_mean_reversion", {"period": 5}),
    "microsoft follows the trend": ("MSFT", "sma_cross", {"fast": 10, "slow": 40, "fraction": 0.5}),
}


def demo_bots() -> list[NewBot]:
    """Return the bots as they are stored."""
    return [NewBot(name, _config(symbol, strategy, params)) for name, (symbol, strategy, params) in _BOTS.items()]


def _config(symbol: str, strategy: str, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "timeframe": "1d",
        "history_bars": 100,
        "strategy": {"name": strategy, "params": params},
        "broker": {"type": "paper", "fee_fraction": 0.0005, "slippage_fraction": 0.0005, "quantity_step": 1},
        "capital": CAPITAL,
    }
