"""What a bot's process does: it begins with what the service says, runs the strategy, and says how it ended."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import backtrader as bt

from atf.adapters.backtrader.analysis import add_analyzers, analysis_of
from atf.adapters.backtrader.channel import Channel, ServiceGone
from atf.adapters.backtrader.conversation import Conversation
from atf.adapters.backtrader.failure import failed
from atf.adapters.backtrader.hosted_strategy import hosted
from atf.adapters.backtrader.live_feed import LiveFeed, add_feed, add_resampled
from atf.adapters.backtrader.said import Voice, speak_through
from atf.adapters.backtrader.strategy_loading import check_params, load_strategy
from atf.errors import InvalidInput, InvariantViolation
from atf.market.bars import Timeframe
from atf.trading.bot_messages import Candle, Feed, Heartbeat, Past, Said, Start, Stopped


class _Engine(bt.Cerebro):  # type: ignore[misc]
    """Backtrader's loop, which rests in the conversation with the service at the beginning of each round."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation

    def _storenotify(self) -> None:
        self._conversation.rest(self)

    def _check_timers(self, runstrats: Any, dt0: float, cheat: bool = False) -> None:
        """Let timers pass in silence over history, so that one that was due then is not due again today."""
        if not self._conversation.is_history:
            super()._check_timers(runstrats, dt0, cheat)
            return
        for timer in self._timerscheat if cheat else self._timers:
            timer.check(dt0)


def serve(descriptor: int) -> int:
    """Run one bot over a socket and return the exit code of its process: 0, or 1 if it failed."""
    channel = Channel(descriptor)
    voice = Voice(lambda level, text: channel.send(Said(level, text)))
    finish = speak_through(voice)
    try:
        stopped = _run(channel, voice)
        finish()
        channel.send(stopped)
    except ServiceGone:
        return 0
    except BaseException as exc:  # noqa: BLE001 - the error is the bot's answer; SystemExit is one too
        return _fail(channel, exc)
    return 0


def _fail(channel: Channel, error: BaseException) -> int:
    with suppress(ServiceGone):
        channel.send(failed(error))
    return 1


def _run(channel: Channel, voice: Voice) -> Stopped:
    start = _hear_start(channel)
    conversation = Conversation(start, channel, voice)
    cerebro = _Engine(conversation)
    cerebro.setbroker(conversation.broker)
    conversation.add_feeds(_add_datas(cerebro, start, conversation))
    strategy = load_strategy(start.strategy)
    check_params(strategy, start.params)
    cerebro.addstrategy(hosted(strategy, conversation, start.config), **start.params)
    add_analyzers(cerebro)
    found = cerebro.run(preload=False, runonce=False, exactbars=False, stdstats=False, quicknotify=True)
    if not found:
        raise InvariantViolation("the strategy does not want to run with these series")
    conversation.finish(cerebro)
    return Stopped(analysis_of(found[0]))


def _hear_start(channel: Channel) -> Start:
    """Return what the bot begins with, each series with all of its past."""
    past: dict[int, list[tuple[datetime, Candle]]] = defaultdict(list)
    while isinstance(message := channel.receive(_nothing_yet), Past):
        past[message.feed] += message.bars
    if not isinstance(message, Start):
        raise InvariantViolation(f"the first message is {type(message).__name__}, not Start")
    feeds = [replace(feed, history=(*past[number], *feed.history)) for number, feed in enumerate(message.feeds)]
    return replace(message, feeds=feeds)


def _nothing_yet() -> Heartbeat:
    return Heartbeat(None, datetime.now(UTC), 0, 0, 0.0)


def _add_datas(cerebro: Any, start: Start, conversation: Conversation) -> list[LiveFeed]:
    """Add all series, then what is resampled of each; return the series.

    The first data of a symbol is called as the symbol is; the others have their timeframe behind it.
    """
    feeds = []
    first: dict[str, LiveFeed] = {}
    for told in start.feeds:
        name = told.symbol if told.symbol not in first else f"{told.symbol} {told.timeframe}"
        feed = add_feed(cerebro, name, told.timeframe)
        if told.symbol in first:
            feed.compensate(first[told.symbol])
        first.setdefault(told.symbol, feed)
        conversation.broker.add_data(feed, told.symbol)
        feeds.append(feed)
    for feed, told in zip(feeds, start.feeds, strict=True):
        for timeframe in told.resampled:
            data = add_resampled(cerebro, feed, f"{told.symbol} {timeframe}", _longer(told, timeframe))
            data.compensate(first[told.symbol])
            conversation.broker.add_data(data, told.symbol)
    return feeds


def _longer(feed: Feed, timeframe: Timeframe) -> Timeframe:
    if timeframe.length <= feed.timeframe.length:
        raise InvalidInput(f"{feed.symbol} {feed.timeframe} cannot be resampled to {timeframe}: it is not longer")
    return timeframe
