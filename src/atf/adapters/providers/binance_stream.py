"""Binance's stream of bars: its websocket, its frames, and how its connection is kept.

The bars themselves are judged in ``market/stream.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from atf.errors import ConfigurationError
from atf.jobs.retry import BackOff
from atf.market.bars import Series
from atf.market.stream import BarUpdate, StreamListener
from atf.market.symbols import joined

URL: Final = "wss://stream.binance.com:9443/ws"

_LOGGER = logging.getLogger(__name__)
_NAMES_A_MESSAGE: Final = 200
_PAUSE_BETWEEN_MESSAGES: Final = 0.25
"""Binance ends a connection that sends more than five messages a second."""
_CLOSE_SECONDS: Final = 1.0
_LONGEST_FRAME: Final = 2**20
_VALUES: Final = "ohlcv"


class BinanceBarStream:
    """Bars of all followed series over one connection.

    It connects when a series is first followed, subscribes to all again after each reconnection, and waits
    between tries for a random part of a growing pause. Pings find a dead connection; one that is alive and yet
    sends nothing for ``silence`` is given up, too.

    Errors: ConfigurationError without the extra.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        silence: timedelta = timedelta(minutes=3),
        patience: timedelta = timedelta(seconds=10),
        back_off: BackOff = BackOff(timedelta(seconds=1), cap=timedelta(minutes=1)),  # noqa: B008 - it is frozen
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._connect, self._wrong = _import_websockets()
        self._url = url
        self._silence = silence.total_seconds()
        self._patience = patience.total_seconds()
        self._back_off = back_off
        self._jitter = jitter
        self._failures = 0
        self._followed: dict[str, Series] = {}
        self._changed = asyncio.Event()

    def follow(self, series: Series) -> None:
        """Ask for a series."""
        self._followed[stream_name(series)] = series
        self._changed.set()

    def unfollow(self, series: Series) -> None:
        """Ask for it no more."""
        self._followed.pop(stream_name(series), None)
        self._changed.set()

    async def run(self, listener: StreamListener) -> None:
        """Connect and tell the listener, again and again, until cancelled."""
        while True:
            while not self._followed:
                self._changed.clear()
                await self._changed.wait()
            self._failures += 1
            try:
                await self._converse(listener)
            except (OSError, _BrokenFrame, self._wrong) as exc:
                _LOGGER.warning("the stream of bars at %s broke: %s", self._url, str(exc) or type(exc).__name__)
            listener.interrupted()
            await asyncio.sleep(self._back_off.delay(self._failures, self._jitter()).total_seconds())

    async def _converse(self, listener: StreamListener) -> None:
        """Connect once and pass on what comes, until something breaks."""
        connecting = self._connect(
            self._url, open_timeout=self._patience, close_timeout=_CLOSE_SECONDS, max_size=_LONGEST_FRAME
        )
        async with connecting as connection:
            asking = asyncio.create_task(self._subscribe(connection), name="subscriptions of the stream of bars")
            try:
                while True:
                    async with asyncio.timeout(self._silence):
                        message = await connection.recv()
                    self._failures = 0
                    self._pass_on(message, listener)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def _subscribe(self, connection: Any) -> None:
        """Keep the connection's subscriptions equal to what is followed."""
        asked: set[str] = set()
        number = 0
        while True:
            self._changed.clear()
            wanted = set(self._followed)
            for method, names in (("UNSUBSCRIBE", asked - wanted), ("SUBSCRIBE", wanted - asked)):
                for part in _parts(sorted(names)):
                    number += 1
                    await connection.send(json.dumps({"method": method, "params": part, "id": number}))
                    await asyncio.sleep(_PAUSE_BETWEEN_MESSAGES)
            asked = wanted
            await self._changed.wait()

    def _pass_on(self, message: str | bytes, listener: StreamListener) -> None:
        try:
            update = self._read(json.loads(message))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            raise _BrokenFrame("a frame that cannot be read") from exc
        if update is not None:
            listener.updated(update)

    def _read(self, frame: Any) -> BarUpdate | None:
        """Return what a frame says of a followed series; None for all else, such as another symbol's bars."""
        if "error" in frame:
            _LOGGER.warning("the stream of bars at %s refused a subscription: %s", self._url, frame["error"])
        event = frame.get("data", frame)
        if event.get("e") != "kline":
            return None
        bar = event["k"]
        series = self._followed.get(_stream_name(bar["s"], bar["i"]))
        if series is None or event["s"] != bar["s"]:
            return None
        first, second, third, fourth, fifth = (float(bar[key]) for key in _VALUES)
        return BarUpdate(
            series,
            _instant(bar["t"]),
            (first, second, third, fourth, fifth),
            is_closed=bar["x"] is True,
            sent_at=_instant(event["E"]),
        )


class _BrokenFrame(Exception):
    """The other side sent what it does not promise; nothing more of this connection is believed."""


def stream_name(series: Series) -> str:
    """Return what Binance calls the stream of a series, such as btcusdt@kline_1m."""
    return _stream_name(joined(series.symbol), str(series.timeframe))


def _stream_name(symbol: str, interval: str) -> str:
    return f"{symbol.lower()}@kline_{interval}"


def _parts(names: list[str]) -> list[list[str]]:
    return [names[at : at + _NAMES_A_MESSAGE] for at in range(0, len(names), _NAMES_A_MESSAGE)]


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _import_websockets() -> tuple[Any, type[Exception]]:
    try:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException
    except ImportError as exc:
        raise ConfigurationError("streams of exchanges need an extra: pip install 'atf[crypto]'") from exc
    return connect, WebSocketException
