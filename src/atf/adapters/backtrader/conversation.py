"""The talk between a strategy's process and the service: one message in, its rounds, one answer out."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any, Final

from atf.adapters.backtrader.bar_time import as_number, bar_end
from atf.adapters.backtrader.channel import Channel
from atf.adapters.backtrader.live_feed import LiveFeed
from atf.adapters.backtrader.recovery import recover
from atf.adapters.backtrader.said import Voice
from atf.adapters.backtrader.service_broker import ServiceBroker
from atf.adapters.backtrader.strategy_state import has_state, load_state, state_of
from atf.errors import InvariantViolation
from atf.trading.bot_messages import Answer, Heartbeat, NewBar, OrderUpdates, Past, Ready, Start, Stop

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Conversation:
    """Feeds Backtrader's loop. ``rest`` is called at the beginning of each of its rounds.

    What is said during a round is kept until all bars of its message have gone through: then the answer is sent.
    """

    def __init__(self, start: Start, channel: Channel, voice: Voice) -> None:
        self._start = start
        self._channel = channel
        self._voice = voice
        self._feeds: list[LiveFeed] = []
        self.broker: Final = ServiceBroker(start, voice.say)
        self.is_history = True
        self._is_ready = False
        self._number: int | None = None
        self._bar_at: datetime | None = None

    def add_feeds(self, feeds: list[LiveFeed]) -> None:
        """Begin with the history of all series."""
        self._feeds = feeds
        for feed, told in zip(feeds, self._start.feeds, strict=True):
            for open_time, candle in told.history:
                feed.put(as_number_of_bar(open_time, told.timeframe), candle)

    def rest(self, cerebro: Any) -> None:
        """Return when there are bars to work on, or when the strategy is to end."""
        self._channel.beat(self._heartbeat)
        while not any(feed.has_bars for feed in self._feeds):
            self._finish_message(cerebro)
            match self._channel.receive(self._heartbeat):
                case NewBar() as message:
                    self._begin_bar(message)
                    return
                case OrderUpdates() as message:
                    self._begin_updates(message)
                case Stop():
                    cerebro.runstop()
                    return
                case Start() | Past():
                    raise InvariantViolation("a second start of the same process")

    def finish(self, cerebro: Any) -> None:
        """Answer what is not answered; for a strategy that ends by itself."""
        self._finish_message(cerebro)

    def _finish_message(self, cerebro: Any) -> None:
        if not self._is_ready:
            self._become_ready(cerebro)
        cerebro._brokernotify()
        if self._number is None:
            return
        taken = self.broker.desk.take()
        state = state_of(cerebro.runningstrats[0])
        self._channel.send(Answer(self._number, taken.orders, taken.cancels, state, taken.refused))
        self._number = None

    def _become_ready(self, cerebro: Any) -> None:
        """End the warm-up: what was held and ordered is there again before anything is notified."""
        self._is_ready = True
        self.is_history = False
        self._bar_at = max((feed.history[-1][0] for feed in self._start.feeds if feed.history), default=None)
        strategy = cerebro.runningstrats[0]
        recover(self._start, self.broker, strategy, self._feeds)
        load_state(strategy, self._start.state)
        for feed in self._feeds:
            feed.put_notification(feed.LIVE)
        cerebro._datanotify()
        self._channel.send(Ready(int(strategy._minperiod), self._bar_at, has_state(strategy)))

    def _begin_bar(self, message: NewBar) -> None:
        self._number, self._bar_at, self.is_history = message.number, message.open_time, message.is_history
        self.broker.set_cash(message.cash, message.value)
        self.broker.desk.begin_bar()
        if not message.bars:
            return
        if not all(0 <= index < len(self._feeds) for index in message.bars):
            raise InvariantViolation(
                f"bars of the series {sorted(message.bars)}, where {len(self._feeds)} are known"
            )
        shortest = min((self._start.feeds[index].timeframe for index in message.bars), key=lambda one: one.length)
        end = as_number_of_bar(message.open_time, shortest)
        for index, candle in message.bars.items():
            self._feeds[index].put(end, candle)
            self.broker.set_close(self._start.feeds[index].symbol, candle[3])

    def _begin_updates(self, message: OrderUpdates) -> None:
        self._number = message.number
        self.broker.set_cash(message.cash)
        for update in message.updates:
            self.broker.desk.update(update)

    def _heartbeat(self) -> Heartbeat:
        self._voice.catch_up()
        return Heartbeat(
            self._bar_at, datetime.now(UTC), self._channel.waiting, _own_memory(), time.process_time()
        )


def as_number_of_bar(open_time: datetime, timeframe: Any) -> float:
    """Return a bar's time as Backtrader's number."""
    return as_number(bar_end(open_time, timeframe).replace(tzinfo=UTC))


def _own_memory() -> int:
    """Return how much memory this process has, as its limit counts it: what it may touch, touched or not."""
    file = os.open("/proc/self/statm", os.O_RDONLY)  # once a second in each bot: a file object asks twice as much
    fields = os.read(file, 128).split()
    os.close(file)
    return int(fields[5]) * _PAGE
