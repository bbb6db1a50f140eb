"""Pictures for people who do not sit at this machine: bars, and alerts on them, as PNG."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from atf.alerts.alert import Alert
from atf.alerts.evaluation import HISTORY_BARS
from atf.alerts.past_bars import PastBars
from atf.alerts.preview import Preview, Previewed, preview_on
from atf.market.bars import Bars, Series
from atf.market.market_clock import MarketClock

T = TypeVar("T")


async def picture_of_bars(series: Series, bars: Bars) -> bytes:
    """Return a picture of bars. Errors: ConfigurationError without the extra ``charts``."""
    return await _aside(lambda: _drawn_bars(series, bars))


async def picture_of_alert(past: PastBars, clock: MarketClock, alert: Alert, most: int) -> tuple[Preview, bytes]:
    """Return what an alert would have done on its newest closed bars, and a picture of that.

    Errors: as ``PastBars.watched_bars`` and ``preview_on``; ConfigurationError without the extra ``charts``.
    """
    now, closing = await clock.now(), await past.closing(alert.watched)
    bars = await past.watched_bars(alert.watched, now, most + HISTORY_BARS + alert.bars_behind, now=now)
    since = bars.time_at(len(bars) - most) if len(bars) > most else None

    def work() -> tuple[Preview, bytes]:
        found = preview_on(alert, bars, now, since, closing=closing)
        return found.preview, _drawn_alert(found)

    return await _aside(work)


async def _aside(work: Callable[[], T]) -> T:
    """Do something beside the event loop; what nobody waits for any more before it begins is never done."""
    return await asyncio.get_running_loop().run_in_executor(_one_at_a_time(), work)


@cache
def _one_at_a_time() -> ThreadPoolExecutor:
    # Not the loop's own threads, which look up names as well: pictures that take long would hold all of them.
    return ThreadPoolExecutor(1, "pictures")


# Matplotlib is slow to load, and few commands draw.
def _drawn_bars(series: Series, bars: Bars) -> bytes:
    from atf.adapters.charts.candles import draw_candles

    return _content(lambda path: draw_candles(path, bars, str(series)))


def _drawn_alert(found: Previewed) -> bytes:
    from atf.adapters.charts.alert_chart import draw_alert

    return _content(lambda path: draw_alert(path, found.trace))


def _content(draw: Callable[[Path], None]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chart.png"
        draw(path)
        return path.read_bytes()
