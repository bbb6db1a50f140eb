"""A strategy's trial over made-up bars, so that its mistakes are found before a bot makes them with money."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from atf.errors import InvalidInput
from atf.market.bars import Timeframe
from atf.trading.bot_messages import (
    Answer,
    Candle,
    Failed,
    Feed,
    Heartbeat,
    NewBar,
    OrderUpdate,
    OrderUpdates,
    Ready,
    Said,
    Start,
    Stop,
    Stopped,
)
from atf.trading.bot_process import BotProcess, BotProcesses, Exited, ProcessLimits
from atf.trading.made_up_venue import MadeUpVenue, made_up_bars
from atf.trading.order import BotId

_BARS: Final = 600
_HISTORY: Final = 250
"""Bars of the second run that warm it up, as a bot's do."""
_BEGIN: Final = datetime(2026, 1, 5, tzinfo=UTC)
_CASH: Final = Decimal(10_000)
_SYMBOL: Final = "MADEUP"
_PATIENCE: Final = timedelta(seconds=20)
_MOST_SAID: Final = 5


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What a strategy did over made-up bars. ``said``: the first lines that it printed."""

    bars: int
    minimum_period: int
    orders: int
    fills: int
    keeps_state: bool
    said: tuple[str, ...]


async def try_strategy(
    processes: BotProcesses, target: str, params: Mapping[str, Any], timeframe: Timeframe = Timeframe.H1
) -> TrialReport:
    """Run a strategy twice: from its first bar on, and warmed up, with the state that the first run left.

    Errors: InvalidInput in one sentence, with the line of the strategy if it is to blame.
    """
    start = Start(BotId(0), "trial", target, params, (), _CASH)
    bars = list(made_up_bars(_BARS))
    async with _Trial.opened(processes, timeframe) as first:
        report = await first.run(start, (), bars)
    async with _Trial.opened(processes, timeframe) as second:
        await second.run(replace(start, state=first.state), bars[:_HISTORY], bars[_HISTORY:])
    return report


class _Trial:
    """One process, its bars, and the venue that its orders go to."""

    def __init__(self, process: BotProcess, timeframe: Timeframe) -> None:
        self._process = process
        self._timeframe = timeframe
        self._venue = MadeUpVenue(_CASH)
        self._number = 0
        self._orders = 0
        self._said: list[str] = []
        self.state: Mapping[str, Any] | None = None

    @classmethod
    @asynccontextmanager
    async def opened(cls, processes: BotProcesses, timeframe: Timeframe) -> AsyncIterator[_Trial]:
        """Begin a process, and end it whatever becomes of the trial."""
        process = await processes.spawn(BotId(0), ProcessLimits())
        try:
            yield cls(process, timeframe)
        finally:
            await process.kill()

    async def run(self, start: Start, history: Sequence[Candle], bars: Sequence[Candle]) -> TrialReport:
        """Tell the bars one after the other, as a service would."""
        past = tuple((self._open_time(number), candle) for number, candle in enumerate(history))
        await self._process.send(replace(start, feeds=(Feed(_SYMBOL, self._timeframe, past),)))
        ready = await self._hear(Ready)
        for number, candle in enumerate(bars, len(history)):
            await self._bar(self._open_time(number), candle)
        await self._process.send(Stop("the trial is over"))
        await self._hear(Stopped)
        return TrialReport(
            len(bars), ready.minimum_period, self._orders, self._venue.filled, ready.has_state, tuple(self._said)
        )

    def _open_time(self, number: int) -> datetime:
        return _BEGIN + number * self._timeframe.length

    async def _bar(self, open_time: datetime, candle: Candle) -> None:
        await self._update(self._venue.fills(candle, open_time), open_time)
        self._number += 1
        value = self._venue.value(candle[3])
        await self._process.send(NewBar(self._number, open_time, {0: candle}, self._venue.cash, value))
        await self._take(open_time)

    async def _update(self, updates: Sequence[OrderUpdate], at: datetime) -> None:
        if updates:
            self._number += 1
            await self._process.send(OrderUpdates(self._number, updates, self._venue.cash))
            await self._take(at)

    async def _take(self, at: datetime) -> None:
        """Let the venue have what the strategy wants; it is told, and may want more."""
        answer = await self._hear(Answer)
        self._orders += len(answer.orders)
        self.state = answer.state
        await self._update(self._venue.take(answer, at), at)

    async def _hear(self, kind: Any) -> Any:
        """Return the next message, which must be of a kind. Errors: InvalidInput."""
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                return await self._next(kind)
        except TimeoutError as exc:
            raise InvalidInput(f"it gave no answer within {_PATIENCE.total_seconds():g} s") from exc

    async def _next(self, kind: Any) -> Any:
        while True:
            match await self._process.receive():
                case Heartbeat():
                    pass
                case Said(_, text):
                    self._said += [text] if len(self._said) < _MOST_SAID else []
                case Failed(error):
                    raise InvalidInput(error)
                case Exited(code, signal, reason):
                    how = f"with exit code {code}" if signal is None else f"by signal {signal}"
                    raise InvalidInput(reason or f"its process ended {how}")
                case message if isinstance(message, kind):
                    return message
                case message:
                    raise InvalidInput(f"it ended by itself ({type(message).__name__})")
