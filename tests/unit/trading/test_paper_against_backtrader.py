"""Backtrader's own broker over the same bars fills the same orders at the same prices.

Not compared, as the models differ on purpose (docs/paper-venue.md): trailing orders, which follow closes there;
two legs of one group in one bar, where the older one is first there; and a stop limit whose price must come back
to its limit after the trigger, where Backtrader looks at the close in some bars only.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import backtrader as bt
import pytest
from tests.paper_bars import Desk, Prices, new

BARS: Final = 12
_BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
_KINDS: Final = {
    "market": bt.Order.Market,
    "limit": bt.Order.Limit,
    "stop": bt.Order.Stop,
    "stop_limit": bt.Order.StopLimit,
}

Asked = dict[str, Any]


class ListFeed(bt.feed.DataBase):  # type: ignore[misc]
    """Bars from a list, a minute each."""

    params = (("rows", ()), ("timeframe", bt.TimeFrame.Minutes))

    def start(self) -> None:
        super().start()
        self._rows = iter(enumerate(self.p.rows))

    def _load(self) -> bool:
        found = next(self._rows, None)
        if found is None:
            return False
        number, (opened, high, low, close) = found
        self.lines.datetime[0] = bt.date2num(_BEGIN.replace(tzinfo=None) + timedelta(minutes=number))
        for line, value in zip(("open", "high", "low", "close"), (opened, high, low, close), strict=True):
            getattr(self.lines, line)[0] = value
        self.lines.volume[0] = 1000
        self.lines.openinterest[0] = 0
        return True


class Sender(bt.Strategy):  # type: ignore[misc]
    """Sends one order after the first bar and notes its fills."""

    params = (("asked", None),)

    def __init__(self) -> None:
        self.found: list[tuple[int, float]] = []

    def next(self) -> None:
        if len(self) == 1:
            asked = dict(self.p.asked)
            send = self.buy if asked.pop("side") == "buy" else self.sell
            send(size=1, exectype=_KINDS[asked.pop("type")], **asked)

    def notify_order(self, order: Any) -> None:
        if order.status == order.Completed:
            self.found.append((len(self) - 1, order.executed.price))


def of_backtrader(bars: list[Prices], side: str, kind: str, prices: dict[str, str]) -> list[tuple[int, float]]:
    stop, limit = (float(prices[name]) if name in prices else None for name in ("stop_price", "limit_price"))
    asked: Asked = {"side": side, "type": kind, "price": limit if stop is None else stop}
    if stop is not None:
        asked["plimit"] = limit
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(ListFeed(rows=bars))
    cerebro.addstrategy(Sender, asked=asked)
    cerebro.broker.setcash(1_000_000)
    (strategy,) = cerebro.run()
    found: list[tuple[int, float]] = strategy.found
    return found


def of_ours(bars: list[Prices], side: str, kind: str, prices: dict[str, str]) -> list[tuple[int, float]]:
    desk = Desk("1000000", allow_short=True)
    desk.bar(*bars[0])
    desk.send(new("a", side, kind, **prices))
    found = []
    for number, bar in enumerate(bars[1:], start=1):
        found += [(number, float(price)) for _, _, price in desk.bar(*bar)]
    return found


def random_bars(dice: random.Random) -> list[Prices]:
    bars, last = [], 100.0
    for _ in range(BARS):
        opened = round(last + dice.choice([0, 0, 0, dice.uniform(-2, 2)]), 2)
        close = round(opened + dice.uniform(-2, 2), 2)
        high = round(max(opened, close) + dice.uniform(0, 1.5), 2)
        low = round(min(opened, close) - dice.uniform(0, 1.5), 2)
        bars.append((opened, high, low, close))
        last = close
    return bars


def agree(side: str, prices: dict[str, str]) -> bool:
    """Whether the models agree about a stop limit in every bar: its trigger is good enough for its limit."""
    distance = float(prices["limit_price"]) - float(prices["stop_price"])
    return (distance >= 0) is (side == "buy")


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_backtrader_fills_the_same_orders_at_the_same_prices(kind: str, side: str) -> None:
    dice, compared, filled = random.Random(f"{kind} {side}"), 0, 0
    for _ in range(60):
        bars = random_bars(dice)
        prices = {}
        if "stop" in kind:
            prices["stop_price"] = f"{dice.uniform(97, 103):.2f}"
        if "limit" in kind:
            prices["limit_price"] = f"{dice.uniform(97, 103):.2f}"
        if kind == "stop_limit" and not agree(side, prices):
            continue
        ours = of_ours(bars, side, kind, prices)
        assert ours == of_backtrader(bars, side, kind, prices), (bars, prices)
        compared, filled = compared + 1, filled + len(ours)
    assert compared >= 20
    assert filled >= 15
