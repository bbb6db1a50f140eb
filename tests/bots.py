"""Bots' processes in tests: a strategy written on the spot, told bars and updates one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.market.bars import Timeframe
from atf.trading.bot_messages import (
    Answer,
    Candle,
    Failed,
    Feed,
    FromBot,
    Heartbeat,
    NewBar,
    OrderRequest,
    OrderUpdate,
    OrderUpdates,
    Ready,
    Said,
    Start,
    Stop,
    Stopped,
)
from atf.trading.bot_process import BotProcess, Exited, ProcessLimits
from atf.trading.order import BotId, OrderStatus

T0: Final = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PATIENCE: Final = 20.0

_PREAMBLE: Final = '''
import datetime as dt
import backtrader as bt

class Noting(bt.Strategy):
    """Each answer's state tells what was noted since the one before it."""
    def __init__(self):
        self.noted = []
    def note(self, *what):
        self.noted.append(list(what))
    def save_state(self):
        noted, self.noted = self.noted, []
        return {"noted": noted}
'''


def candle(close: float) -> Candle:
    return (close, close + 1, close - 1, close, 10.0)


def feed(
    closes: Iterable[float] = (), symbol: str = "BTC", timeframe: Timeframe = Timeframe.M1, **more: Any
) -> Feed:
    """Build a series whose history begins at T0."""
    history = tuple((T0 + n * timeframe.length, candle(close)) for n, close in enumerate(closes))
    return Feed(symbol, timeframe, history, **more)


class Strategies:
    """Writes strategies into files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, body: str, name: str = "Probe") -> str:
        """Write a class that notes what it sees; its methods are the body."""
        methods = "\n".join(f"    {line}" for line in dedent(body).strip("\n").split("\n"))
        return self.file(f"{_PREAMBLE}\nclass {name}(Noting):\n{methods}\n", name)

    def file(self, text: str, name: str) -> str:
        path = self._folder / f"{name.lower()}.py"
        path.write_text(dedent(text), "utf-8")
        return f"{path}:{name}"


class Talk:
    """The service's part in a test: everything is numbered and answered, heartbeats are passed over."""

    def __init__(self, process: BotProcess) -> None:
        self.process = process
        self.said: list[str] = []
        self.beats: list[Heartbeat] = []
        self.next_open = T0
        self._number = 0

    async def hear(self) -> FromBot | Exited:
        """Return what the bot says next, without heartbeats and lines."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.process.receive()
                match message:
                    case Heartbeat():
                        self.beats.append(message)
                    case Said(_, text):
                        self.said.append(text)
                    case _:
                        return message

    async def begin(self, strategy: str, *feeds: Feed, **more: Any) -> FromBot | Exited:
        """Start a strategy and return how it takes it."""
        known = {"params": {}, "cash": Decimal(10_000)}
        given = feeds or (feed(),)
        ends = [one.history[-1][0] + one.timeframe.length for one in given if one.history]
        self.next_open = max(ends, default=T0)
        await self.process.send(Start(BotId(1), "probe", strategy, feeds=given, **{**known, **more}))
        return await self.hear()

    async def ready(self, strategy: str, *feeds: Feed, **more: Any) -> Ready:
        message = await self.begin(strategy, *feeds, **more)
        assert isinstance(message, Ready), message
        return message

    async def bar(self, *closes: float | None, at: datetime | None = None, **more: Any) -> Answer:
        """Tell one bar a series, of one minute; None for a series that has none."""
        bars = {index: candle(close) for index, close in enumerate(closes) if close is not None}
        return await self.bars(bars, at, **more)

    async def bars(self, bars: dict[int, Candle], at: datetime | None = None, **more: Any) -> Answer:
        await self.send_bars(bars, at, **more)
        return await self._answer()

    async def send_bars(self, bars: dict[int, Candle], at: datetime | None = None, **more: Any) -> None:
        """Tell bars without waiting for the answer."""
        self._number += 1
        open_time = at or self.next_open
        self.next_open = open_time + timedelta(minutes=1)
        known = {"cash": Decimal(10_000), "value": Decimal(10_000)}
        await self.process.send(NewBar(self._number, open_time, bars, **{**known, **more}))

    async def update(self, *updates: OrderUpdate, cash: Decimal = Decimal(10_000)) -> Answer:
        await self.send_updates(*updates, cash=cash)
        return await self._answer()

    async def send_updates(self, *updates: OrderUpdate, cash: Decimal = Decimal(10_000)) -> None:
        """Tell updates without waiting for the answer."""
        self._number += 1
        await self.process.send(OrderUpdates(self._number, updates, cash))

    async def _answer(self) -> Answer:
        message = await self.hear()
        assert isinstance(message, Answer), message
        assert message.number == self._number
        return message

    async def stop(self) -> Stopped:
        await self.process.send(Stop("the test is over"))
        message = await self.hear()
        assert isinstance(message, Stopped), message
        assert await self.hear() == Exited(0, None)
        return message

    async def failure(self) -> Failed:
        """Return how the bot failed; its process has ended with 1."""
        message = await self.hear()
        assert isinstance(message, Failed), message
        assert await self.hear() == Exited(1, None)
        return message


def noted(answer: Answer) -> list[Any]:
    """Return what a strategy noted for this answer."""
    assert answer.state is not None
    found: list[Any] = answer.state["noted"]
    return found


def only_order(answer: Answer) -> OrderRequest:
    assert len(answer.orders) == 1, answer
    return answer.orders[0]


def update(ref: int, status: OrderStatus, **more: Any) -> OrderUpdate:
    """Build an update of an order that nothing of is filled."""
    known = OrderUpdate(ref, status, Decimal(0), None, Decimal(0), T0 + timedelta(hours=1))
    return replace(known, **more)


def fill(
    ref: int, quantity: str, at: str, filled: str, status: OrderStatus = OrderStatus.FILLED, **more: Any
) -> OrderUpdate:
    """Build an update about a fill; ``filled`` with all fills before it, all ``at`` this price."""
    known: dict[str, Any] = {
        "filled_quantity": Decimal(filled),
        "price": Decimal(at),
        "last_quantity": Decimal(quantity),
        "last_price": Decimal(at),
    }
    return update(ref, status, **{**known, **more})


Spawn = Callable[..., Any]


@asynccontextmanager
async def forked_bots() -> AsyncIterator[ForkedBots]:
    bots = ForkedBots()
    try:
        yield bots
    finally:
        await bots.close()


async def spawned(bots: ForkedBots, limits: ProcessLimits = ProcessLimits()) -> Talk:  # noqa: B008 - frozen
    return Talk(await bots.spawn(BotId(1), limits))


def all_noted(answers: Sequence[Answer]) -> list[Any]:
    return [one for answer in answers for one in noted(answer)]
