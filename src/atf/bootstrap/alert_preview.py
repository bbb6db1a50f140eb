"""Previews of alerts: a stored one, or any configuration, on bars that are here or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.adapters.charts.alert_chart import draw_alert
from atf.adapters.providers.bar_files import read_bars
from atf.alerts.alert import Alert, parse_alert
from atf.alerts.evaluation import HISTORY_BARS
from atf.alerts.legacy import upgraded
from atf.alerts.preview import MOST_BARS, Previewed, preview_on
from atf.alerts.rearming import span_words
from atf.bootstrap.client import Client
from atf.clock import SystemClock
from atf.errors import InvalidInput
from atf.market.bars import Bars, Timeframe
from atf.market.due_bars import DueBars
from atf.market.symbols import canonical


@dataclass(frozen=True, slots=True)
class Range:
    """Bars that open from ``since`` to ``until``, both included; everything without them."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What is watched in place of what the configuration says."""

    ticker: str | None = None
    timeframe: Timeframe | None = None


def alert_to_preview(config: object, overrides: Overrides) -> Alert:
    """Return the checked alert of a configuration, legacy ones included, on another series if one is given.

    Errors: InvalidAlertRule; InvalidInput for a ticker that is none.
    """
    document = upgraded(config)
    if not isinstance(document, Mapping):
        return parse_alert(config)
    return parse_alert({**document, **_given(overrides)})


async def stored_config(client: Client, alert_id: int) -> Mapping[str, Any]:
    """Return the configuration of one of the user's alerts. Errors: NotFound."""
    return (await client.alerts.get(client.user_id, alert_id)).task_params


async def preview(client: Client, alert: Alert, wanted: Range) -> Previewed:
    """Return what an alert would have done on the bars that are here.

    Errors: as ``PastBars.closed_bars`` and ``preview_on``.
    """
    now = await client.clock.now()
    until = now if wanted.until is None else min(now, wanted.until + alert.series.timeframe.length)
    most = MOST_BARS + HISTORY_BARS + alert.bars_behind
    closing = await client.past.closing(alert.watched)
    bars = await client.past.watched_bars(alert.watched, until, most, now=now)
    if not len(bars):  # to say which there are
        bars = await client.past.watched_bars(alert.watched, now, most, now=now)
    return preview_on(alert, bars, now, wanted.since, wanted.until, closing=closing)


async def preview_file(path: Path, alert: Alert, wanted: Range) -> Previewed:
    """Return what an alert would have done on the bars of a file; no database is needed.

    Errors: as ``read_bars``, ``DueBars.closing`` and ``preview_on``; InvalidInput if the bars are not of the
            alert's timeframe.
    """
    try:
        bars = read_bars(path, alert.series.symbol)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror}", field="--bars") from exc
    _require_timeframe(path, bars, alert.series.timeframe)
    closing = await DueBars(ExchangeCalendars()).closing(alert.series.timeframe, alert.watched.calendar)
    return preview_on(alert, bars, SystemClock().now(), wanted.since, wanted.until, closing=closing)


def draw_preview(path: Path, found: Previewed) -> None:
    """Write a PNG of a preview. Errors: as ``draw_alert``."""
    draw_alert(path, found.trace)


def _given(overrides: Overrides) -> dict[str, str]:
    given: dict[str, str] = {}
    if overrides.ticker is not None:
        given["ticker"] = canonical(overrides.ticker)
    if overrides.timeframe is not None:
        given["timeframe"] = str(overrides.timeframe)
    return given


def _require_timeframe(path: Path, bars: Bars, timeframe: Timeframe) -> None:
    """Refuse bars that mostly overlap at this length, or of which no two are so close.

    Some are closer or farther than others: sessions begin at odd times, and nobody trades at night.
    """
    gaps = np.diff(bars.open_time)
    if not len(gaps):
        return
    length = timeframe.length.total_seconds() * 1e9
    if float(np.median(gaps)) < length or float(gaps.min()) > length:
        usual = span_words(timedelta(seconds=float(np.median(gaps)) / 1e9))
        raise InvalidInput(
            f"the bars of {path} are not of {timeframe}: most open {usual} apart; give their --timeframe",
            field="--bars",
        )
