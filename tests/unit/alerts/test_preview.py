"""When an alert would have fired: counted off a trace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alert_steps import evaluated
from tests.alert_traces import ABOVE_5, BEGIN, HOUR, alert_of, bars_of

from atf.alerts import preview as preview_module
from atf.alerts.alert import Alert, fresh_state, parse_alert
from atf.alerts.preview import Preview, Silence, preview_on
from atf.alerts.state import AlertStatus
from atf.alerts.trigger import Trigger
from atf.errors import NotFound

LATER = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def daily(rule: dict[str, Any], **fields: Any) -> Alert:
    return parse_alert({"ticker": "T", "timeframe": "1d", "rule": rule, **fields})


def previewed(closes: list[float | None], alert: Alert | None = None, **range_: datetime) -> Preview:
    alert = alert or daily(ABOVE_5)
    step = alert.series.timeframe.length
    return preview_on(alert, bars_of(closes, step=step), LATER, **range_).preview  # type: ignore[arg-type]


def times(found: Preview) -> list[int]:
    return [(trigger.bar_time - BEGIN) // DAY for trigger in found.triggers]


def test_triggers_months_and_the_longest_silence_are_counted() -> None:
    closes: list[float | None] = [4.0] * 100
    closes[2] = closes[40] = closes[42] = 6.0
    closes[7] = None
    found = previewed(closes)
    assert times(found) == [2, 40, 42]
    assert found.months == {"2027-03": 1, "2027-04": 2, "2027-05": 0, "2027-06": 0}
    assert found.longest_silence == Silence(BEGIN + 42 * DAY, BEGIN + 99 * DAY, 57)
    assert found.longest_silence.length == 57 * DAY
    assert (found.bars, found.unknown_bars) == (100, 1)
    assert (found.first_bar, found.last_bar) == (BEGIN, BEGIN + 99 * DAY)
    assert (found.ended, found.is_cut) == (None, False)


def test_without_triggers_all_is_silence() -> None:
    found = previewed([4, 4, 4])
    assert (found.triggers, found.months) == ((), {"2027-03": 0})
    assert found.longest_silence == Silence(BEGIN, BEGIN + 2 * DAY, 3)


def test_a_silence_between_triggers_counts_the_bars_between() -> None:
    assert previewed([6, 4, 4, 4, 6]).longest_silence == Silence(BEGIN, BEGIN + 4 * DAY, 3)


@pytest.mark.parametrize(("close", "count"), [(6.0, 1), (4.0, 0), (None, 0)])
def test_one_bar_is_enough(close: float | None, count: int) -> None:
    found = previewed([close])
    assert (len(found.triggers), found.bars, found.unknown_bars) == (count, 1, int(close is None))
    assert found.longest_silence == Silence(BEGIN, BEGIN, 1 - count)


def test_bars_before_the_range_feed_indicators_and_sides_and_never_trigger() -> None:
    average = {
        "indicator": "price",
        "operator": "crosses_above",
        "value": {"indicator": "sma", "params": {"period": 3}},
    }
    closes: list[float | None] = [3, 9, 3, 3, 9, 3, 3, 9]
    whole = previewed(closes, daily(average))
    part = previewed(closes, daily(average), since=BEGIN + 4 * DAY, until=BEGIN + 6 * DAY)
    assert times(whole) == [4, 7]
    assert (times(part), part.bars, part.unknown_bars) == ([4], 3, 0)
    assert (part.first_bar, part.last_bar) == (BEGIN + 4 * DAY, BEGIN + 6 * DAY)


def test_a_range_without_bars_says_which_there_are() -> None:
    with pytest.raises(
        NotFound, match=r"no closed bar of T 1d is in that range; there are bars from 2027-03-01 to"
    ):
        previewed([6, 6], since=BEGIN + 5 * DAY)
    with pytest.raises(NotFound, match="there are no bars of T 1d"):
        previewed([])


def test_bars_that_are_not_closed_are_left_out() -> None:
    alert = daily(ABOVE_5)
    assert preview_on(alert, bars_of([4, 6], step=DAY), BEGIN + 1.5 * DAY).preview.bars == 1


def test_limits_of_the_alert_end_it() -> None:
    once = previewed([4, 6, 4, 6, 4], daily(ABOVE_5, options={"max_triggers": 1}))
    assert (times(once), once.bars) == ([1], 2)
    assert once.ended is not None
    assert (once.ended.status, once.ended.bar_time) == (AlertStatus.COMPLETED, BEGIN + DAY)
    expired = {"expires_at": (BEGIN - DAY).isoformat()}
    with pytest.raises(NotFound, match="the alert would have evaluated none of these bars of T 1d"):
        previewed([6], daily(ABOVE_5, options=expired))


def test_of_too_many_bars_the_newest_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_module, "MOST_BARS", 3)
    found = previewed([6, 4, 4, 6, 4])
    assert (times(found), found.bars, found.is_cut) == ([3], 3, True)


RULES: list[dict[str, Any]] = [
    ABOVE_5,
    {"indicator": "price", "operator": "crosses", "value": {"indicator": "sma", "params": {"period": 3}}},
    {"indicator": "rsi", "params": {"period": 2}, "operator": "<", "value": 50},
]
REARMS: list[dict[str, Any]] = [
    {"type": "simple"},
    {"type": "edge", "cooldown": 7200},
    {"type": "persistence", "bars": 2},
    {"type": "hysteresis", "threshold": 0.1},
    {"type": "crossing"},
]


@given(
    st.sampled_from(RULES),
    st.sampled_from(REARMS),
    st.lists(st.sampled_from([None, 4.0, 5.0, 6.0]), min_size=1, max_size=30),
    st.integers(0, 10),
)
def test_a_preview_fires_on_what_an_alert_made_at_the_first_bar_fires_on(
    rule: dict[str, Any], rearm: dict[str, Any], closes: list[float | None], first: int
) -> None:
    alert, bars, first = alert_of(rule, rearm=rearm), bars_of(closes), min(first, len(closes) - 1)
    made_at = BEGIN + HOUR * first
    state, live = fresh_state(alert, made_at), list[Trigger]()
    for count in range(first + 1, len(bars) + 1):
        step = evaluated(alert, state, bars[:count], BEGIN + HOUR * count)
        state, live = step.state, live + list(step.triggers)
    found = preview_on(alert, bars, LATER, since=made_at).preview
    assert [(one.bar_time, one.number, one.value) for one in found.triggers] == [
        (one.bar_time, one.number, one.value) for one in live
    ]
    assert found.bars == len(closes) - first
    assert sum(found.months.values()) == len(live)
