"""The same strategy makes the same orders at the same bars in Backtrader alone and in a bot's process."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.bots import T0, Strategies, feed, forked_bots, spawned

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.adapters.bot_processes.preloading import import_without
from atf.market.bars import Timeframe
from atf.trading.bot_messages import Answer, Candle
from atf.trading.made_up_venue import MadeUpVenue, made_up_bars

pytestmark = pytest.mark.asyncio(loop_scope="module")

BARS: Sequence[Candle] = list(made_up_bars(300))
CROSSING = """
    params = dict(fast=3, slow=8)
    def __init__(self):
        super().__init__()
        self.orders, self.seen, self.pending = [], [], None
        fast, slow = (bt.ind.EMA(period=length) for length in (self.p.fast, self.p.slow))
        self.cross = bt.ind.CrossOver(fast, slow)
        self.rsi = bt.ind.RSI_Safe(period=7)
    def next(self):
        self.seen.append(round(self.rsi[0], 9))
        if self.pending:
            return
        if self.cross > 0:
            self.pending = self.order_target_size(target=3)
        elif self.cross < 0:
            self.pending = self.order_target_size(target=-2)
        elif self.rsi > 90 and self.position:
            self.pending = self.close()
        if self.pending:
            self.orders.append([len(self.data), self.pending.ref, self.pending.size])
    def notify_order(self, order):
        if not order.alive():
            self.orders.append([order.getstatusname(), order.ref, order.executed.size, order.executed.price])
            self.pending = None
    def notify_trade(self, trade):
        if trade.isclosed:
            self.orders.append(["trade", round(trade.pnl, 6)])
    def save_state(self):
        return {"orders": self.orders, "seen": self.seen}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bots() -> AsyncIterator[ForkedBots]:
    async with forked_bots() as bots:
        yield bots


async def test_the_same_orders_at_the_same_bars(bots: ForkedBots, tmp_path: Path) -> None:
    target = Strategies(tmp_path)(CROSSING)
    alone = _alone(target)
    assert len(alone["orders"]) > 15
    assert await _as_a_bot(bots, target, 0) == alone


async def test_a_warm_up_only_leaves_out_what_came_before(bots: ForkedBots, tmp_path: Path) -> None:
    target = Strategies(tmp_path)(CROSSING)
    alone, warmed = _alone(target), await _as_a_bot(bots, target, 100)
    assert warmed["seen"] == alone["seen"][-200:]


def _alone(target: str) -> Any:
    """Run it in Backtrader's own loop, with its own broker."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Backtrader is older than what Python now warns about
        import_without(("talib", "pandas", "matplotlib"), "backtrader")
        import backtrader as bt

        file, _, name = target.rpartition(":")
        namespace: dict[str, Any] = {"__name__": __name__}
        exec(compile(Path(file).read_text(), file, "exec"), namespace)

        class Candles(bt.feed.DataBase):  # type: ignore[misc]
            def start(self) -> None:
                super().start()
                self.rest = list(enumerate(BARS))

            def _load(self) -> bool:
                if not self.rest:
                    return False
                number, candle = self.rest.pop(0)
                end = T0 + (number + 1) * Timeframe.M1.length
                self.lines.datetime[0] = bt.date2num(end.astimezone(UTC).replace(tzinfo=None))
                for line, value in zip(("open", "high", "low", "close", "volume"), candle, strict=True):
                    getattr(self.lines, line)[0] = value
                return True

        bt.Order.refbasis = iter(range(1, 10_000))
        cerebro = bt.Cerebro()
        cerebro.adddata(Candles(timeframe=bt.TimeFrame.Minutes))
        cerebro.addstrategy(namespace[name])
        [strategy] = cerebro.run(preload=False, runonce=False, stdstats=False)
        return strategy.save_state()


async def _as_a_bot(bots: ForkedBots, target: str, warm: int) -> Any:
    talk = await spawned(bots)
    history = [(T0 + number * Timeframe.M1.length, candle) for number, candle in enumerate(BARS[:warm])]
    await talk.ready(target, feed() if not warm else _with(history))
    venue, state = MadeUpVenue(Decimal(10_000)), None
    for candle in BARS[warm:]:
        updates = venue.fills(candle, talk.next_open)
        answers = [await talk.update(*updates, cash=venue.cash)] if updates else []
        answers.append(await talk.bars({0: candle}, cash=venue.cash, value=venue.value(candle[3])))
        for answer in answers:
            state = await _accepted(venue, talk, answer)
    await talk.process.kill()
    return state


async def _accepted(venue: MadeUpVenue, talk: Any, answer: Answer) -> Any:
    while updates := venue.take(answer, talk.next_open):
        answer = await talk.update(*updates, cash=venue.cash)
    return answer.state


def _with(history: Any) -> Any:
    from dataclasses import replace

    return replace(feed(), history=tuple(history))
