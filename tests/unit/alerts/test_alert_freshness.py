from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from atf.alerts.alert import rule_hash
from atf.alerts.alerts_service import AlertRecord
from atf.alerts.default_rhythm import DEFAULT_CRON
from atf.alerts.freshness import Freshness
from atf.alerts.legacy import upgraded
from atf.errors import InvalidInput
from atf.market.bars import Timeframe
from atf.market.continuous_calendars import RoundTheClock
from atf.market.due_bars import DueBars
from atf.market.trading_calendar import Session, TradingCalendar
from atf.schedules.calendars import SessionCalendar
from atf.testing.clocks import FakeMarketClock

DAY = timedelta(days=1)
THANKSGIVING, DAY_AFTER = date(2026, 11, 26), date(2026, 11, 27)


class NewYork:
    """XNYS in November 2026: 14:30Z to 21:00Z, closed on Thursday the 26th, until 18:00Z on the day after it."""

    name = "XNYS"
    zone = ZoneInfo("America/New_York")

    def is_session(self, day: date) -> bool:
        return day.weekday() < 5 and day != THANKSGIVING

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = [first + n * DAY for n in range((last - first).days + 1)]
        return tuple(self._session(day) for day in days if self.is_session(day))

    @staticmethod
    def _session(day: date) -> Session:
        begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
        closes = timedelta(hours=18 if day == DAY_AFTER else 21)
        return Session(day, begins + timedelta(hours=14.5), begins + closes)


class Calendars:
    """New York and a market that never closes; notes which are asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def trading_calendar(self, name: str) -> TradingCalendar:
        self.asked.append(name)
        return RoundTheClock() if name == "24/7" else await self._new_york(name)

    async def load(self, name: str) -> SessionCalendar:
        return await self._new_york(name)

    async def _new_york(self, name: str) -> NewYork:
        if name != "XNYS":
            raise InvalidInput("there is none", field="calendar")
        return NewYork()


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def config(ticker: str, timeframe: str, **more: Any) -> dict[str, Any]:
    rule = {"indicator": "price", "operator": ">", "value": 5}
    return {"ticker": ticker, "timeframe": timeframe, "rule": rule, **more}


def alert(
    given: Mapping[str, Any], last_bar: str | None, *, history_until: str = "10-01", **changes: Any
) -> AlertRecord:
    """An alert that was made, resumed or reset at ``history_until``."""
    made = at(history_until)
    state = {
        "status": changes.pop("status", "ARMED"),
        "data_status": changes.pop("data_status", "ok"),
        "last_bar": None if last_bar is None else at(last_bar).isoformat(),
        "history_until": made.isoformat(),
        "rule_hash": rule_hash(upgraded(given)),
        "trigger_count": 7,
    }
    cron = DEFAULT_CRON[Timeframe(given["timeframe"])]
    record = AlertRecord(1, 1, "alert", given, cron, "UTC", True, made, None, state, updated_at=made)
    return replace(record, **changes)


def coin(last_bar: str | None = "11-28 10:00", *, timeframe: str = "1h", **changes: Any) -> AlertRecord:
    return alert(config("BTC/USDT", timeframe), last_bar, **changes)


def stock(last_bar: str | None, *, timeframe: str = "1h", **changes: Any) -> AlertRecord:
    return alert(config("AAPL", timeframe), last_bar, **changes)


async def seen(record: AlertRecord, now: str, calendars: Calendars | None = None) -> AlertRecord:
    market = calendars or Calendars()
    [shown] = await Freshness(DueBars(market), market, FakeMarketClock(at(now))).shown([record])
    return shown


async def status(record: AlertRecord, now: str) -> str:
    state = (await seen(record, now)).state_json
    assert state is not None
    return str(state["data_status"])


@pytest.mark.parametrize(
    ("record", "still_usual", "stale"),
    [
        # A bar of 10:00 closes at 11:00; three hours later none of the next three has come.
        (coin(), "11-28 14:00", "11-28 14:00:01"),
        (coin("11-28 10:00", timeframe="1m"), "11-28 10:04", "11-28 10:04:01"),
        (coin("11-20", timeframe="1d"), "11-24", "11-24 00:00:01"),
        # Wednesday's last hour; Thursday is a holiday and Friday a half day from 14:30 on.
        (stock("11-25 20:00"), "11-27 17:00", "11-27 17:00:01"),
        (stock("11-27 17:00"), "11-30 17:00", "11-30 17:00:01"),
        # Friday, Monday and Tuesday are missing when Wednesday's session begins.
        (stock("11-25", timeframe="1d"), "12-02 14:30", "12-02 14:30:01"),
        (stock("11-23", timeframe="1w"), "12-21 14:30", "12-21 14:30:01"),
    ],
    ids=["hours", "minutes", "days", "holiday", "weekend", "sessions", "weeks"],
)
async def test_stale_is_more_than_three_timeframes_of_trading_without_a_bar(
    record: AlertRecord, still_usual: str, stale: str
) -> None:
    assert await status(record, still_usual) == "ok"
    assert await status(record, stale) == "stale"


@pytest.mark.parametrize(
    ("record", "still_usual", "stale"),
    [
        (coin(None, history_until="11-28 10:30"), "11-28 13:00", "11-28 13:30:01"),
        (stock(None, history_until="11-25 22:00"), "11-27 17:00", "11-27 17:00:01"),
        (stock(None, history_until="11-28 12:00", timeframe="1d"), "12-03 14:30", "12-03 14:30:01"),
    ],
)
async def test_an_alert_that_never_saw_a_bar_is_as_if_the_newest_one_had_come_when_it_was_made(
    record: AlertRecord, still_usual: str, stale: str
) -> None:
    assert await status(record, still_usual) == "ok"
    assert await status(record, stale) == "stale"


@pytest.mark.parametrize(
    ("resumed", "still_usual", "stale"),
    [
        (coin("11-01 10:00", history_until="11-28 10:30"), "11-28 13:00", "11-28 13:30:01"),
        (stock("11-20 20:00", history_until="11-27 17:30"), "11-30 16:00", "11-30 16:00:01"),
    ],
)
async def test_an_alert_that_was_resumed_waits_from_then_on(
    resumed: AlertRecord, still_usual: str, stale: str
) -> None:
    assert await status(resumed, still_usual) == "ok"
    assert await status(resumed, stale) == "stale"


@pytest.mark.parametrize("changes", [{"enabled": False}, {"status": "COMPLETED"}, {"status": "EXPIRED"}])
@pytest.mark.parametrize("stored", ["ok", "no_data"])
async def test_an_alert_that_waits_for_no_bar_is_never_stale(changes: dict[str, Any], stored: str) -> None:
    assert await status(coin(data_status=stored, **changes), "12-24") == stored


@pytest.mark.parametrize("word", ["PENDING", "TRIGGERED", "COOLDOWN"])
async def test_an_alert_that_waits_for_one_is_whatever_its_state(word: str) -> None:
    assert await status(coin(status=word), "11-29") == "stale"


async def test_stale_goes_before_no_data_which_goes_before_ok() -> None:
    blind = coin(data_status="no_data")
    assert [await status(blind, now) for now in ("11-28 12:00", "11-28 18:00")] == ["no_data", "stale"]


async def test_nothing_else_of_the_alert_is_changed_and_nothing_of_what_is_stored() -> None:
    stored = coin()
    shown = await seen(stored, "11-29")
    assert stored.state_json is not None
    assert stored.state_json["data_status"] == "ok"
    assert shown == replace(stored, state_json={**stored.state_json, "data_status": "stale"})
    fresh = await seen(stored, "11-28 12:00")
    assert fresh is stored


async def test_an_alert_that_looks_once_a_day_is_not_stale_between_its_looks() -> None:
    daily = coin("11-28 08:00", cron="0 9 * * *")
    assert await status(daily, "11-29 08:59") == "ok"
    assert await status(daily, "11-29 09:29") == "ok", "the look may go on for half a timeframe"
    assert await status(daily, "11-29 09:31") == "stale"
    missed = coin("11-28 04:00", cron="0 9 * * *")
    assert await status(missed, "11-28 09:29") == "ok"
    assert await status(missed, "11-28 09:31") == "stale"


async def test_looks_that_a_schedule_s_calendar_leaves_out_are_not_missed() -> None:
    weekdays = coin("11-27 20:00", cron="0 21 * * *", calendar="XNYS")
    assert await status(weekdays, "11-30 20:59") == "ok"
    assert await status(replace(weekdays, calendar=None), "11-30 20:59") == "stale"
    assert await status(weekdays, "11-30 21:31") == "stale"


async def test_a_calendar_of_the_configuration_goes_before_that_of_the_ticker() -> None:
    as_stock = alert(config("BTC/USDT", "1h", calendar="XNYS"), "11-27 17:00")
    assert await status(as_stock, "11-29 12:00") == "ok"


async def test_an_edit_that_nobody_has_evaluated_yet_waits_from_its_own_time() -> None:
    """The stored state is that of another rule, maybe of another ticker."""
    stored = coin("11-01 10:00").state_json
    edited = coin(updated_at=at("11-28 10:30"), state_json={**(stored or {}), "rule_hash": "another"})
    assert await status(edited, "11-28 13:00") == "ok"
    assert await status(edited, "11-28 13:30:01") == "stale"


async def test_a_legacy_job_is_stale_like_any_other() -> None:
    legacy = {"symbol": "BTCUSDT", "condition": "price_above", "threshold": 150.0, "timeframe": "1h"}
    assert await status(alert(legacy, "11-28 10:00"), "11-28 14:00:01") == "stale"


@pytest.mark.parametrize(
    "record",
    [
        replace(coin(), task_params={"rule": 1}),
        replace(coin(), task_params={**config("BTC/USDT", "1h"), "timeframe": "1 hour"}),
        alert(config("BTC/USDT", "1h", calendar="XMOON"), "11-28 10:00"),
        coin(cron="0 0 30 2 *"),
        coin(calendar="XMOON"),
    ],
    ids=["no alert", "timeframe", "calendar", "cron", "schedule's calendar"],
)
async def test_of_what_cannot_be_read_what_is_stored_is_shown(record: AlertRecord) -> None:
    assert await status(record, "11-29") == "ok"


async def test_an_alert_without_a_state_stays_without() -> None:
    assert (await seen(replace(coin(), state_json=None), "11-29")).state_json is None


async def test_no_calendar_is_loaded_for_alerts_whose_bars_are_recent() -> None:
    """Those of exchanges take a second or two, which a list should not cost while all is well."""
    calendars = Calendars()
    await seen(stock("11-27 17:00"), "11-27 20:00", calendars)
    assert calendars.asked == []
    await seen(stock("11-27 17:00"), "11-28 20:00", calendars)
    assert calendars.asked == ["XNYS"]
