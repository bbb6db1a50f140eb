"""Hourly alerts and bars as tests write them: closes, None for a missing one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from atf.alerts.alert import Alert, fresh_state, parse_alert
from atf.alerts.state import AlertState
from atf.alerts.trace import Trace, trace, watched_bars
from atf.alerts.traced_bar import TracedBar
from atf.market.bars import Bars
from atf.market.closing import Closing

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ABOVE_5 = {"indicator": "price", "operator": ">", "value": 5}


def alert_of(rule: dict[str, Any], **fields: Any) -> Alert:
    """An alert on T 1h."""
    return parse_alert({"ticker": "T", "timeframe": "1h", "rule": rule, **fields})


def bars_of(closes: Sequence[float | None], begin: datetime = BEGIN, step: timedelta = HOUR) -> Bars:
    """Bars that did not move within."""
    values = [math.nan if close is None else close for close in closes]
    return Bars.from_rows([(begin + step * i, close, close, close, close, 1.0) for i, close in enumerate(values)])


def traced(alert: Alert, bars: Bars, history: int = 0) -> Trace:
    """The trace of an alert that was made when so many bars had closed."""
    state = fresh_state(alert, BEGIN + HOUR * history)
    return trace(alert, state, watched_bars(bars, Closing(alert.series.timeframe)), BEGIN + HOUR * len(bars))


def seen_bar(opens_at: datetime, *, closes_at: datetime | None = None) -> TracedBar:
    """A bar on which an alert fired, for triggers that a test makes by hand."""
    closed = closes_at or opens_at + timedelta(hours=1)
    return TracedBar(opens_at, closed, (), 1, {}, 1, AlertState(""), AlertState(""), is_triggered=True)
