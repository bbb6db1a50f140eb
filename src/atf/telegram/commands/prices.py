"""/price and /chart: what something costs, and how it came to that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from math import isfinite
from typing import Final

from atf.errors import InvalidInput, NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.fetched_bars import FetchedBars
from atf.market.symbols import canonical
from atf.notifications.local_format import NOTHING, LocalFormat
from atf.notifications.texts import Texts
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Command
from atf.telegram.local import bar_words, drawn, in_time, local_of
from atf.telegram.reply import Reply
from atf.telegram.rich_text import RichText, bold, lines, rich

_MOST_TICKERS: Final = 5
_CHART_BARS: Final = 120
_WITHIN: Final = timedelta(seconds=10)
"""So long providers are waited for; what has come by then is told."""
_USUAL: Final = (Timeframe.M1, Timeframe.D1)
"""Where no timeframe is named: the freshest price, and the one that nearly everything has."""


async def price(ask: Ask) -> Reply:
    """Tell the newest closed price of some tickers, and how it has changed."""
    words = ask.words.replace(",", " ").split()
    timeframe = _timeframe(words[-1]) if len(words) > 1 else None
    symbols = list(dict.fromkeys(map(_symbol, words if timeframe is None else words[:-1])))
    if not 1 <= len(symbols) <= _MOST_TICKERS:
        raise UsageError(ask.texts("prices-tickers", most=str(_MOST_TICKERS)), field="price")
    wanted = {Series(one, each): 2 for one in symbols for each in ((timeframe,) if timeframe else _USUAL)}
    until = await ask.user.clock.now()
    found = await in_time(ask, ask.user.data.closed_bars_of(wanted, until=until, within=_WITHIN))
    local = await local_of(ask)
    told = [_told(symbol, found, ask.texts, local) for symbol in symbols]
    return Reply(lines(line for each in told for line in each))


async def chart(ask: Ask) -> Reply:
    """Draw the newest bars of a ticker."""
    symbol, timeframe = _series_of(ask)
    series = Series(symbol, timeframe)
    bars = await in_time(ask, _newest(ask, series))
    picture = await drawn(ask, ask.user.chart(series, bars))
    local = await local_of(ask)
    caption = [bold(str(series)), *_changed(bars, timeframe, ask.texts, local)]
    return Reply(lines(caption), photo=picture)


def _series_of(ask: Ask) -> tuple[str, Timeframe]:
    match ask.parts():
        case [ticker]:
            return _symbol(ticker), Timeframe.D1
        case [ticker, word]:
            timeframe = _timeframe(word)
            if timeframe is None:
                raise UsageError(
                    ask.texts("prices-timeframe", word=word[:40], allowed=", ".join(Timeframe)), field="timeframe"
                )
            return _symbol(ticker), timeframe
        case _:
            raise UsageError(ask.texts("prices-one-ticker"), field="chart")


async def _newest(ask: Ask, series: Series) -> Bars:
    """Return the newest bars of a series. Errors: NotFound, TemporaryFailure, in the person's words."""
    until, names = await ask.user.clock.now(), {"ticker": series.symbol, "timeframe": str(series.timeframe)}
    data = ask.user.data
    try:
        bars = await data.closed_bars(series.symbol, series.timeframe, until, _CHART_BARS, within=_WITHIN)
    except NotFound as exc:
        raise NotFound(ask.texts("prices-unknown-at", **names)) from exc
    except TemporaryFailure as exc:
        raise TemporaryFailure(ask.texts("prices-late", ticker=series.symbol)) from exc
    if not len(bars):
        raise NotFound(ask.texts("prices-none-yet", ticker=series.symbol))
    return bars


def _symbol(word: str) -> str:
    try:
        return canonical(word)
    except InvalidInput as exc:
        raise UsageError(exc.reason, field="ticker") from exc


def _timeframe(word: str) -> Timeframe | None:
    return Timeframe(word.lower()) if word.lower() in list(Timeframe) else None


def _told(symbol: str, found: FetchedBars, texts: Texts, local: LocalFormat) -> Sequence[RichText]:
    """Return the lines of one ticker: its price, or why there is none."""
    ready = {one.timeframe: bars for one, bars in found.ready.items() if one.symbol == symbol and len(bars)}
    if not ready:
        return [bold(symbol) + f" {_why_none(symbol, found, texts)}"]
    timeframe = max(ready, key=lambda one: ready[one].time_at(len(ready[one]) - 1) + one.length)
    first, *parts = _changed(ready[timeframe], timeframe, texts, local)
    if timeframe is not Timeframe.D1 and Timeframe.D1 in ready:
        parts.append(rich(_since_day(ready[timeframe], ready[Timeframe.D1], texts, local)))
    if Series(symbol, timeframe) in found.stale:
        parts.append(rich(texts("prices-stale")))
    return [bold(symbol) + " " + first, *parts]


def _since_day(bars: Bars, days: Bars, texts: Texts, local: LocalFormat) -> str:
    """Return how the price has changed since the newest daily close."""
    date = bar_words(days.time_at(len(days) - 1), Timeframe.D1, texts, local)
    change = _change(bars.close.item(-1), days.close.item(-1), local)
    return texts("prices-since-day", date=date, change=change)


def _why_none(symbol: str, found: FetchedBars, texts: Texts) -> str:
    if any(one.symbol == symbol for one in found.late):
        return texts("prices-late-here")
    if any(one.symbol == symbol for one in found.ready):
        return texts("prices-none-yet-here")
    return texts("prices-unknown")


def _changed(bars: Bars, timeframe: Timeframe, texts: Texts, local: LocalFormat) -> Iterator[RichText]:
    """Yield the newest price with its change, and which bar it is of."""
    close = bars.close.item(-1)
    before = bars.close.item(-2) if len(bars) > 1 else None
    opens_at = bars.time_at(len(bars) - 1)
    yield rich(f"{local.money(close)} ({_change(close, before, local)})")
    name = "prices-bar" if timeframe.length < timedelta(days=1) else "prices-day"
    yield rich(
        texts(
            name,
            timeframe=str(timeframe),
            date=bar_words(opens_at, timeframe, texts, local),
            time=local.local_time(opens_at + timeframe.length),
            before=local.money(before),
        )
    )


def _change(close: float, before: float | None, local: LocalFormat) -> str:
    if before is None or not before or not isfinite(close) or not isfinite(before):
        return NOTHING
    fraction = close / before - 1
    return f"{'+' if fraction > 0 else ''}{local.percent(fraction)}"


COMMANDS: Final = (
    Command("price", price, usage="TICKER ... [TIMEFRAME]", asks=True),
    Command("chart", chart, usage="TICKER [TIMEFRAME]", asks=True),
)
