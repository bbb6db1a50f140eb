"""Live alerts and alerts with a calendar on their way through the evaluator: fetched, committed and told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.unit.alerts.test_evaluator import (
    BEGIN,
    HOUR,
    FakeProvider,
    Kept,
    World,
    bars_of,
    config,
    run_of,
    stored,
)

from atf.alerts.alert import fresh_state, parse_alert
from atf.alerts.evaluator import AlertEvaluator
from atf.alerts.preview import preview_on
from atf.alerts.state import AlertStatus
from atf.errors import InvalidInput, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.closing import Closing
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.forming import FormingBar
from atf.market.provider import ProviderTraits
from atf.market.provider_lane import ProviderLane
from atf.market.trading_calendar import Session, TradingCalendar
from atf.testing.market import MemoryBarStore, open_market

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
LIVE: dict[str, Any] = {"options": {"evaluate_on": "live"}}


class LiveProvider(FakeProvider):
    """Tells of the forming bar what it was given; without anything it is asked in vain."""

    forming: Bars | None = None
    error: Exception | None = None
    looks = 0

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return None if self.forming is None else FormingBar(self.forming, now)


class RemoteLiveProvider(LiveProvider):
    traits = ProviderTraits()


class LiveWorld(World):
    """A world whose provider has a forming bar, too; each evaluation goes on from what was committed."""

    provider: LiveProvider

    def __init__(self, *alerts: Kept, is_remote: bool = False, **bars: Bars | None) -> None:
        super().__init__(*alerts, **bars)
        kind = RemoteLiveProvider if is_remote else LiveProvider
        self.provider = kind(self.provider.bars, lambda: self.store.is_open)
        self.runs = 100
        self.restart()

    def restart(self, data: DataManager | None = None) -> None:
        data = data or open_market(self.provider, monotonic=lambda: self.clock.time.timestamp())
        self.evaluator = AlertEvaluator(self.store, self.queue, data, self.clock)

    async def look(self, hours: float, close: float | None = None) -> Sequence[tuple[int, datetime]]:
        """Let all alerts look at an instant, with a forming bar of this close; return all that was triggered."""
        self.clock.time = BEGIN + HOUR * hours
        opens = BEGIN + HOUR * int(hours)
        self.provider.forming = (
            None if close is None else Bars.from_rows([(opens, close, close, close, close, 1.0)])
        )
        runs = [run_of(self.runs + number, number) for number in self.store.alerts]
        self.runs += 100
        await self.handle(*runs)
        self.store.keep()
        return self.store.done.triggers


async def test_a_live_alert_fires_on_the_forming_bar_and_not_again_when_it_closes() -> None:
    world = LiveWorld(stored(1, config(**LIVE)), T=bars_of(4))
    assert await world.look(1.5, 6) == [(1, BEGIN + HOUR)]
    (message,) = world.store.done.messages
    assert (message.payload["live"], message.payload["late"]) == (True, False)
    assert message.payload["readings"] == {"close": 6.0}
    assert (await world.look(1.6, 4), await world.look(1.7, 6)) == ([(1, BEGIN + HOUR)],) * 2
    world.provider.bars = {"T": bars_of(4, 6)}
    assert await world.look(2) == [(1, BEGIN + HOUR)]
    state = world.store.alerts[1].state
    assert state is not None
    assert (state.last_bar, state.trigger_count, len(world.store.done.messages)) == (BEGIN + HOUR, 1, 1)


async def test_an_alert_of_closed_bars_beside_it_is_neither_asked_for_nor_changed_by_the_forming_bar() -> None:
    world = LiveWorld(stored(1, config()), T=bars_of(4))
    await world.look(1.5, 6)
    assert (world.provider.looks, world.store.done.triggers) == (0, [])
    both = LiveWorld(stored(1, config()), stored(2, config(**LIVE)), T=bars_of(4))
    assert await both.look(1.5, 6) == [(2, BEGIN + HOUR)]
    assert both.store.done.states[1] == world.store.done.states[1]
    assert both.provider.asked == world.provider.asked


async def test_what_closed_is_judged_before_what_forms() -> None:
    world = LiveWorld(stored(1, config(rearm={"type": "simple"}, **LIVE)), T=bars_of(6, 4, 7))
    found = await world.look(3.5, 8)
    assert found == [(1, BEGIN), (1, BEGIN + HOUR * 2), (1, BEGIN + HOUR * 3)]
    assert world.store.done.results[101].result["bars_evaluated"] == 3


async def test_another_process_goes_on_within_a_bar_with_what_is_stored() -> None:
    world = LiveWorld(stored(1, config(**LIVE)), T=bars_of(4))
    await world.look(1.2, 6)
    world.restart()
    assert await world.look(1.4, 7) == [(1, BEGIN + HOUR)]
    world.provider.bars = {"T": bars_of(4, 4)}
    world.restart()
    assert await world.look(2.1, 6) == [(1, BEGIN + HOUR), (1, BEGIN + HOUR * 2)]


async def test_a_live_trigger_of_a_muted_alert_is_recorded_and_told_to_nobody() -> None:
    world = LiveWorld(stored(1, config(**LIVE), muted_until=BEGIN + DAY), T=bars_of(4))
    assert await world.look(1.5, 6) == [(1, BEGIN + HOUR)]
    assert world.store.done.messages == []


async def test_a_paused_live_alert_is_not_looked_at() -> None:
    world = LiveWorld(stored(1, config(**LIVE), is_active=False), T=bars_of(4))
    assert await world.look(1.5, 6) == []
    assert world.provider.looks == 0


async def test_a_live_alert_that_was_switched_to_closes_does_not_fire_twice_on_its_bar() -> None:
    world = LiveWorld(stored(1, config(rearm={"type": "simple"}, **LIVE)), T=bars_of(4))
    await world.look(1.5, 6)
    kept = world.store.alerts[1]
    world.store.alerts[1] = replace(kept, config=config(rearm={"type": "simple"}), version=2)
    world.provider.bars = {"T": bars_of(4, 6)}
    assert await world.look(2.1) == [(1, BEGIN + HOUR)]


async def test_with_another_rule_the_bars_that_closed_are_history_and_the_forming_one_is_not() -> None:
    world = LiveWorld(stored(1, config(**LIVE)), T=bars_of(4))
    await world.look(1.5, 6)
    kept = world.store.alerts[1]
    world.store.alerts[1] = replace(kept, config=config(level=3, **LIVE), version=2)
    await world.look(1.6, 6)
    assert [message.dedup_key for message in world.store.done.messages] == [
        f"1:{parse_alert(one).rule_hash[:16]}:{int((BEGIN + HOUR).timestamp())}"
        for one in (config(**LIVE), config(level=3, **LIVE))
    ]


async def test_a_forming_bar_that_cannot_be_had_leaves_the_closed_ones_judged() -> None:
    world = LiveWorld(stored(1, config(**LIVE)), T=bars_of(4, 6))
    world.provider.error = TemporaryFailure("busy")
    assert await world.look(2.5, 9) == [(1, BEGIN + HOUR)]
    assert (world.queue.back, world.queue.failures) == ([], {})


async def test_behind_a_bar_that_is_awaited_nothing_is_judged_until_it_is_given_up() -> None:
    world = LiveWorld(stored(1, config(**LIVE)), is_remote=True, T=bars_of(4))
    assert await world.look(2.25, 6) == []
    assert [delay for _, delay in world.queue.back] == [MINUTE * 7.5]
    assert await world.look(2.5, 6) == [(1, BEGIN + HOUR * 2)]


async def test_a_forming_bar_that_opens_with_the_newest_closed_one_is_not_judged() -> None:
    """By our clock the bar has closed; what the provider last saw of it is no new bar."""
    world = LiveWorld(stored(1, config(rearm={"type": "simple"}, **LIVE)), T=bars_of(4, 6))
    world.clock.time = BEGIN + HOUR * 2
    world.provider.forming = bars_of(4, 9)[1:]
    done = await world.handle(run_of(10, 1))
    assert done.triggers == [(1, BEGIN + HOUR)]
    assert done.messages[0].payload["readings"] == {"close": 6.0}


async def test_of_two_evaluators_that_loaded_the_same_state_the_loser_discards_its_trigger() -> None:
    world = LiveWorld(stored(1, config(**LIVE)), T=bars_of(4))
    world.store.changed = frozenset({1})
    assert await world.look(1.5, 6) == []
    assert world.queue.back == [(101, timedelta(0))]
    world.store.changed = frozenset()
    assert await world.look(1.5, 6) == [(1, BEGIN + HOUR)]


async def test_a_live_alert_that_cannot_be_judged_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from atf.alerts.live_evaluation import look_at_forming

    def breaks_for_2(roster: Any, *args: Any) -> None:
        if any(alert.rule == broken.rule for alert in roster.alerts):
            raise ZeroDivisionError("one mistake")
        look_at_forming(roster, *args)

    broken = parse_alert(config(level=2, **LIVE))
    monkeypatch.setattr("atf.alerts.evaluator.look_at_forming", breaks_for_2)
    world = LiveWorld(*(stored(number, config(level=number, **LIVE)) for number in (1, 2, 3)), T=bars_of(0))
    assert [number for number, _ in await world.look(1.5, 6)] == [1, 3]
    assert set(world.queue.failures) == {102}


# --- calendars ---


class Exchange:
    """XNYS in November 2026: clocks change on the 1st, the 26th is a holiday and the 27th half a day.

    So is 8 December here, a Tuesday: fewer than 24 hours after the end of Monday.
    """

    name = "XNYS"
    zone = ZoneInfo("America/New_York")

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = (first + n * DAY for n in range((last - first).days + 1))
        return tuple(self._session(day) for day in days if day.weekday() < 5 and day != date(2026, 11, 26))

    def _session(self, day: date) -> Session:
        ends = 13 if day in (date(2026, 11, 27), date(2026, 12, 8)) else 16
        opens, closes = (datetime(day.year, day.month, day.day, hour, tzinfo=self.zone) for hour in (9, ends))
        return Session(day, opens.astimezone(UTC), closes.astimezone(UTC))


class Exchanges:
    def __init__(self) -> None:
        self.exchange = Exchange()

    async def trading_calendar(self, name: str) -> TradingCalendar:
        if name != "XNYS":
            raise InvalidInput(f"{name} is not a trading calendar", field="calendar")
        return self.exchange


DAILY: dict[str, Any] = {"timeframe": "1d", "calendar": "XNYS"}
DAYS = {
    "23": 4.0,
    "24": 6.0,
    "25": 4.0,
    "27": 6.0,
    "30": 4.0,
}


def days(*numbers: str) -> Bars:
    rows = [(datetime(2026, 11, int(number), tzinfo=UTC), DAYS[number]) for number in numbers]
    return Bars.from_rows([(at, close, close, close, close, 1.0) for at, close in rows])


def nov(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def session_alert(number: int = 1, **fields: Any) -> Kept:
    document = config(**{**DAILY, **fields})
    return Kept(number, document, fresh_state(parse_alert(document), nov(22)))


class SessionWorld(LiveWorld):
    """A provider that has a day's bar as forming from the first trade on, and as closed after midnight."""

    def restart(self, data: DataManager | None = None) -> None:
        lane = ProviderLane(self.provider, monotonic=lambda: self.clock.time.timestamp())
        chains, due = Chains([lane]), DueBars(Exchanges())
        super().restart(DataManager(chains, MemoryBarStore(), due, monotonic=lambda: self.clock.time.timestamp()))

    async def at(
        self, now: datetime, closed: Bars, forming: Bars | None = None
    ) -> Sequence[tuple[int, datetime]]:
        self.clock.time, self.provider.forming = now, forming
        self.provider.bars = {"T": closed}
        await self.handle(*(run_of(self.runs + number, number) for number in self.store.alerts))
        self.runs += 100
        self.store.keep()
        return self.store.done.triggers


async def test_a_day_is_judged_when_its_session_ends_though_it_is_not_closed_by_the_clock() -> None:
    world = SessionWorld(session_alert(), is_remote=True)
    before, today = days("23"), days("24")
    assert await world.at(nov(24, 20, 59), before, today) == []
    assert await world.at(nov(24, 21, 1), before, today) == [(1, nov(24))]
    assert world.store.done.messages[0].payload["live"] is False
    # By the clock the same bar closes later; it is not judged twice.
    assert await world.at(nov(25, 0, 5), days("23", "24"), None) == [(1, nov(24))]
    assert world.store.done.results[301].result["bars_evaluated"] == 0


async def test_half_a_day_is_judged_at_noon() -> None:
    world = SessionWorld(session_alert(), is_remote=True)
    closed, friday = days("23", "24", "25"), days("27")
    await world.at(nov(27, 17, 59), closed, friday)
    assert world.store.done.triggers == [(1, nov(24))]
    assert await world.at(nov(27, 18, 1), closed, friday) == [(1, nov(24)), (1, nov(27))]


async def test_the_bar_of_a_session_that_is_not_published_is_waited_for_from_its_end_on() -> None:
    world = SessionWorld(session_alert(), is_remote=True)
    await world.at(nov(24, 21, 10), days("23"), None)
    assert [delay for _, delay in world.queue.back] == [MINUTE * 5]
    # Half a timeframe after the session's end it is given up.
    world.queue.back.clear()
    await world.at(nov(25, 9, 1), days("23"), None)
    assert world.queue.back == []


async def test_at_midnight_an_alert_that_has_judged_the_day_waits_for_nothing() -> None:
    world = SessionWorld(session_alert(), is_remote=True)
    await world.at(nov(24, 21, 1), days("23"), days("24"))
    world.queue.back.clear()
    await world.at(nov(25, 0, 0), days("23"), days("24"))
    assert world.queue.back == []


async def test_alerts_of_one_series_with_and_without_a_calendar_see_their_own_bars() -> None:
    clock_alert = config(timeframe="1d")
    by_clock = Kept(2, clock_alert, fresh_state(parse_alert(clock_alert), nov(22)))
    world = SessionWorld(session_alert(), by_clock, is_remote=True)
    assert await world.at(nov(24, 21, 1), days("23"), days("24")) == [(1, nov(24))]
    assert await world.at(nov(25, 0, 1), days("23", "24")) == [(1, nov(24)), (2, nov(24))]


async def test_after_its_session_a_live_alert_sees_no_forming_bar() -> None:
    world = SessionWorld(session_alert(rearm={"type": "simple"}, **LIVE), is_remote=True)
    assert await world.at(nov(24, 20, 0), days("23"), days("24")) == [(1, nov(24))]
    assert world.store.done.messages[0].payload["live"] is True
    assert await world.at(nov(24, 21, 1), days("23"), days("24")) == [(1, nov(24))]
    state = world.store.alerts[1].state
    assert state is not None
    assert state.last_bar == nov(24)


async def test_a_session_that_is_over_is_not_forming_though_its_bar_has_not_settled() -> None:
    world = SessionWorld(session_alert(rearm={"type": "simple"}, **LIVE), is_remote=True)
    assert await world.at(nov(24, 21), days("23"), days("24")) == []
    await world.at(nov(24, 21, 1), days("23"), days("24"))
    assert [message.payload["live"] for message in world.store.done.messages] == [False]


async def test_a_local_source_has_the_bar_of_a_session_when_it_is_over() -> None:
    world = SessionWorld(session_alert())
    assert await world.at(nov(24, 20, 59), days("23", "24")) == []
    assert await world.at(nov(24, 21, 0), days("23", "24")) == [(1, nov(24))]
    assert world.queue.back == []


async def test_an_alert_whose_calendar_is_gone_fails_alone_and_says_why() -> None:
    world = SessionWorld(session_alert(), session_alert(2, calendar="XLON"))
    assert await world.at(nov(25, 0, 0), days("23", "24")) == [(1, nov(24))]
    assert list(world.queue.failures) == [102]
    assert "XLON is not a trading calendar" in str(world.queue.failures[102].error)


@pytest.mark.parametrize("timeframe", ["1d", "1w"])
@pytest.mark.parametrize("kind", ["simple", "edge"])
async def test_live_catching_up_and_a_preview_decide_alike_over_holidays_and_half_days(
    timeframe: str, kind: str
) -> None:
    own = Timeframe(timeframe)
    rearm = {"type": kind, "cooldown": own.length.total_seconds()}
    first = datetime(2026, 10, 19, tzinfo=UTC)
    opens = [session.day for session in Exchange().sessions_between(date(2026, 10, 19), date(2026, 12, 11))]
    times = sorted({day - timedelta(days=day.weekday()) if own is Timeframe.W1 else day for day in opens})
    rows = [
        (datetime(day.year, day.month, day.day, tzinfo=UTC), 4.0 + 2 * (number % 3 > 0))
        for number, day in enumerate(times)
    ]
    bars = Bars.from_rows([(at, close, close, close, close, 1.0) for at, close in rows])
    closing = Closing(own, Exchange())
    document = config(**{**DAILY, "timeframe": timeframe, "rearm": rearm})
    alert = parse_alert(document)

    def world() -> SessionWorld:
        return SessionWorld(Kept(1, document, fresh_state(alert, first)), is_remote=True)

    at_each_close, at_once = world(), world()
    for number in range(len(bars)):
        now = closing.at(bars.time_at(number)) + MINUTE
        closed = bars.closed_at(now, own)
        await at_each_close.at(now, closed, bars[number : number + 1])
        state = at_each_close.store.alerts[1].state
        assert state is not None
        assert state.last_bar == bars.time_at(number)
    last = closing.at(bars.time_at(len(bars) - 1)) + 7 * DAY
    await at_once.at(last, bars)
    previewed = [one.bar_time for one in preview_on(alert, bars, last, closing=closing).preview.triggers]
    assert [time for _, time in at_each_close.store.done.triggers] == previewed
    assert [time for _, time in at_once.store.done.triggers] == previewed
    assert len(previewed) > 2


async def test_a_preview_of_an_alert_with_a_calendar_needs_its_sessions() -> None:
    alert = parse_alert(config(**DAILY))
    with pytest.raises(TypeError, match="XNYS"):
        preview_on(alert, days("23", "24"), nov(30))


async def test_a_slow_forming_bar_delays_nobody_beyond_the_patience() -> None:
    world = LiveWorld(stored(1, config(**LIVE)), stored(2, config("OTHER")), T=bars_of(4, 6), OTHER=bars_of(4, 6))
    never = asyncio.Event()

    async def hang(series: Series, now: datetime) -> FormingBar | None:
        await never.wait()
        return None

    world.provider.forming_bar = hang  # type: ignore[method-assign]
    world.evaluator = AlertEvaluator(
        world.store, world.queue, open_market(world.provider), world.clock, patience=timedelta(milliseconds=20)
    )
    assert await world.look(2.5) == [(1, BEGIN + HOUR), (2, BEGIN + HOUR)]
    assert world.store.alerts[1].state is not None
    assert world.store.alerts[1].state.status is AlertStatus.TRIGGERED
