import asyncio
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from atf.errors import InvalidInput, NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.fetched_bars import FetchedBars
from atf.market.provider import ProviderTraits
from atf.market.provider_lane import ProviderLane
from atf.market.quality import Flaw
from atf.market.trading_calendar import Session
from atf.testing.market import MemoryBarStore, ScriptedProvider, open_market

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BTC = Series("BTC/USDT", Timeframe.H1)
AT_ONCE = timedelta(milliseconds=20)


def bars_until(newest_open: datetime, count: int = 10, scale: float = 1.0) -> Bars:
    """Hourly bars whose prices tell them apart."""
    opens = [newest_open - HOUR * i for i in range(count)]
    rows = [
        (at, 100 * scale, 120 * scale, 90 * scale, (100 + at.hour / 10) * scale, 7.0 + at.hour) for at in opens
    ]
    return Bars.from_rows(rows)


def provider_with(*series: Series, newest: datetime = NOON - HOUR, name: str = "venue") -> ScriptedProvider:
    provider = ScriptedProvider(name)
    provider.bars = {each: bars_until(newest) for each in series}
    return provider


class Seconds:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def closes(bars: Bars) -> list[float]:
    return [float(close) for close in bars.close]


async def test_a_thousand_callers_for_fifty_series_cause_fifty_fetches() -> None:
    series = [Series(f"S{i}", Timeframe.H1) for i in range(50)]
    provider = provider_with(*series)
    provider.gate.clear()
    data = open_market(provider)
    calls = [asyncio.create_task(data.closed_bars_of({series[i % 50]: 5}, until=NOON)) for i in range(1000)]
    await provider.until_under_way(50)
    provider.gate.set()
    answers = await asyncio.gather(*calls)
    assert len(provider.asked) == 50
    assert all(len(bars) == 5 for fetched in answers for bars in fetched.ready.values())


async def test_nothing_is_asked_while_no_further_bar_can_have_closed() -> None:
    provider = provider_with(BTC)
    data = open_market(provider)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON + HOUR - timedelta(seconds=1))
    assert len(provider.asked) == 1
    assert fetched.ready[BTC].time_at(-1) == NOON - HOUR


async def test_a_cached_answer_is_not_used_once_a_further_bar_should_have_closed() -> None:
    provider = provider_with(BTC)
    data = open_market(provider)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    provider.bars[BTC] = bars_until(NOON)
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert fetched.ready[BTC].time_at(-1) == NOON


async def test_only_what_is_missing_is_fetched() -> None:
    provider = provider_with(BTC)
    data = open_market(provider)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    provider.bars[BTC] = bars_until(NOON + HOUR)
    await data.closed_bars_of({BTC: 5}, until=NOON + 2 * HOUR)
    _, _, count, since = provider.asked[-1]
    assert (count, since) == (4, NOON - HOUR)  # the newest held one, to see that it agrees, and the new ones


async def test_what_was_fetched_is_stored_and_serves_the_next_process() -> None:
    store, provider = MemoryBarStore(), provider_with(BTC)
    await open_market(provider, store=store).closed_bars_of({BTC: 5}, until=NOON)
    fetched = await open_market(provider, store=store).closed_bars_of({BTC: 5}, until=NOON)
    assert len(provider.asked) == 1
    assert len(fetched.ready[BTC]) == 5
    assert [source for _, _, source in store.writes] == ["venue"]


async def test_a_bar_that_the_provider_repeats_unchanged_is_not_written_again() -> None:
    store, provider = MemoryBarStore(), provider_with(BTC)
    data = open_market(provider, store=store)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    provider.bars[BTC] = bars_until(NOON)
    await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert [bars.time_at(0) for _, bars, _ in store.writes] == [NOON - 5 * HOUR, NOON]


async def test_more_bars_than_are_held_are_fetched_in_full() -> None:
    provider = provider_with(BTC)
    data = open_market(provider)
    await data.closed_bars_of({BTC: 3}, until=NOON)
    fetched = await data.closed_bars_of({BTC: 8}, until=NOON)
    assert len(fetched.ready[BTC]) == 8
    assert provider.asked[-1][2:] == (8, None)


async def test_a_history_that_is_shorter_than_wanted_is_not_asked_for_again_and_again() -> None:
    provider = provider_with(BTC)
    data = open_market(provider)
    for _ in range(3):
        fetched = await data.closed_bars_of({BTC: 500}, until=NOON)
    assert len(fetched.ready[BTC]) == 10
    assert len(provider.asked) == 1


async def test_a_missing_bar_is_asked_for_again_after_a_pause_and_not_before() -> None:
    provider, clock = provider_with(BTC), Seconds()
    data = open_market(provider, monotonic=clock)
    first = await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert len(provider.asked) == 1
    assert first.awaited == {BTC}
    clock.now = 60.0  # the time to live, less than a twelfth of the hour
    provider.bars[BTC] = bars_until(NOON)
    second = await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert (len(provider.asked), second.awaited) == (2, frozenset())
    assert second.ready[BTC].time_at(-1) == NOON


async def test_a_missing_minute_is_asked_for_again_after_seconds() -> None:
    series, clock = Series("BTC/USDT", Timeframe.M1), Seconds()
    provider = ScriptedProvider()
    provider.bars[series] = Bars.from_rows([(NOON - timedelta(minutes=2), 1.0, 1.0, 1.0, 1.0, 1.0)])
    data = open_market(provider, monotonic=clock)
    for second in (0.0, 4.9, 5.0):
        clock.now = second
        await data.closed_bars_of({series: 1}, until=NOON)
    assert len(provider.asked) == 2


async def test_a_time_to_live_of_zero_asks_for_a_missing_bar_every_time() -> None:
    provider = provider_with(BTC)
    data = open_market(provider, ttl=timedelta(0))
    for _ in range(3):
        await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert len(provider.asked) == 3


async def test_without_an_answer_stored_bars_are_used_and_marked() -> None:
    provider = provider_with(BTC)
    data = open_market(provider)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    provider.error = TemporaryFailure("venue: 503")
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert fetched.ready[BTC].time_at(-1) == NOON - HOUR
    assert fetched.stale == {BTC: "Market data unavailable for BTC/USDT, using cached data: venue: 503"}
    assert fetched.awaited == frozenset()


async def test_the_mark_goes_when_the_provider_is_back() -> None:
    provider, clock = provider_with(BTC), Seconds()
    data = open_market(provider, monotonic=clock)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    provider.error = TemporaryFailure("venue: 503")
    await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    provider.error, clock.now = None, 61.0
    provider.bars[BTC] = bars_until(NOON)
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert (fetched.stale, fetched.ready[BTC].time_at(-1)) == ({}, NOON)


async def test_without_an_answer_and_without_stored_bars_a_series_is_late() -> None:
    provider = ScriptedProvider()
    provider.error = TemporaryFailure("venue: 503")
    fetched = await open_market(provider).closed_bars_of({BTC: 5}, until=NOON)
    assert fetched == FetchedBars(late=frozenset({BTC}))


async def test_a_slow_provider_makes_its_series_late_and_goes_on_for_the_next_call() -> None:
    provider = provider_with(BTC)
    provider.gate.clear()
    data = open_market(provider)
    assert (await data.closed_bars_of({BTC: 5}, until=NOON, within=AT_ONCE)).late == {BTC}
    provider.gate.set()
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON)
    assert len(fetched.ready[BTC]) == 5
    assert (len(provider.asked), provider.cancelled) == (1, 0)


async def test_who_joins_a_fetch_for_fewer_bars_still_gets_all_that_were_wanted() -> None:
    provider = provider_with(BTC)
    provider.gate.clear()
    data = open_market(provider)
    few = asyncio.create_task(data.closed_bars_of({BTC: 3}, until=NOON))
    await provider.until_under_way(1)
    many = asyncio.create_task(data.closed_bars_of({BTC: 8}, until=NOON))
    await asyncio.sleep(0)
    provider.gate.set()
    assert (len((await few).ready[BTC]), len((await many).ready[BTC])) == (3, 8)


async def test_who_joins_a_fetch_of_an_hour_ago_still_gets_the_newest_bar() -> None:
    provider = provider_with(BTC, newest=NOON)
    provider.gate.clear()
    data = open_market(provider)
    earlier = asyncio.create_task(data.closed_bars_of({BTC: 3}, until=NOON))
    await provider.until_under_way(1)
    later = asyncio.create_task(data.closed_bars_of({BTC: 3}, until=NOON + HOUR))
    await asyncio.sleep(0)
    provider.gate.set()
    assert (await earlier).ready[BTC].time_at(-1) == NOON - HOUR
    assert (await later).ready[BTC].time_at(-1) == NOON


async def test_a_history_cut_short_by_a_failure_is_no_answer() -> None:
    store, provider = MemoryBarStore(), provider_with(BTC)
    store.bars[BTC] = bars_until(NOON - HOUR, count=3)
    provider.error = TemporaryFailure("venue: 503")
    fetched = await open_market(provider, store=store).closed_bars_of({BTC: 8}, until=NOON)
    assert fetched == FetchedBars(late=frozenset({BTC}))


async def test_reading_the_store_again_for_one_who_wants_little_takes_nothing_from_who_waits_for_more() -> None:
    provider, clock = provider_with(BTC), Seconds()
    data = open_market(provider, monotonic=clock)
    await data.closed_bars_of({BTC: 8}, until=NOON)
    provider.bars[BTC] = bars_until(NOON)
    provider.gate.clear()
    many = asyncio.create_task(data.closed_bars_of({BTC: 8}, until=NOON + HOUR))
    await provider.until_under_way(1)
    clock.now = 301.0
    few = asyncio.create_task(data.closed_bars_of({BTC: 2}, until=NOON + HOUR))
    await asyncio.sleep(0)
    provider.gate.set()
    assert (len((await few).ready[BTC]), len((await many).ready[BTC])) == (2, 8)


async def test_a_caller_that_goes_away_does_not_take_the_fetch_of_others_with_it() -> None:
    provider = provider_with(BTC)
    provider.gate.clear()
    data = open_market(provider)
    going, staying = (asyncio.create_task(data.closed_bars_of({BTC: 5}, until=NOON)) for _ in range(2))
    await provider.until_under_way(1)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    provider.gate.set()
    assert len((await staying).ready[BTC]) == 5
    assert len(provider.asked) == 1


async def test_closing_ends_what_is_under_way() -> None:
    provider = provider_with(BTC)
    provider.gate.clear()
    data = open_market(provider)
    await data.closed_bars_of({BTC: 5}, until=NOON, within=AT_ONCE)
    await data.close()
    assert (provider.cancelled, provider.under_way) == (1, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_fallback_is_used_and_never_stored() -> None:
    first, second, store = provider_with(BTC, name="first"), provider_with(BTC, name="second"), MemoryBarStore()
    data = open_market(first, second, store=store)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    first.error = TemporaryFailure("first is down")
    second.bars[BTC] = bars_until(NOON, scale=1.001)
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    assert closes(fetched.ready[BTC])[-2:] == pytest.approx([101.1, 101.2 * 1.001])
    assert fetched.stale == {}
    assert {source for _, _, source in store.writes} == {"first"}


async def test_what_was_borrowed_goes_when_the_own_provider_is_back() -> None:
    first, second, clock = provider_with(BTC, name="first"), provider_with(BTC, name="second"), Seconds()
    data = open_market(first, second, monotonic=clock)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    first.error = TemporaryFailure("first is down")
    second.bars[BTC] = bars_until(NOON, scale=1.001)
    await data.closed_bars_of({BTC: 5}, until=NOON + HOUR)
    first.error, clock.now = None, 61.0
    first.bars[BTC] = bars_until(NOON + HOUR)
    fetched = await data.closed_bars_of({BTC: 3}, until=NOON + 2 * HOUR)
    assert closes(fetched.ready[BTC]) == pytest.approx([101.1, 101.2, 101.3])


async def test_the_first_provider_that_knows_a_series_is_its_own() -> None:
    store = MemoryBarStore()
    data = open_market(ScriptedProvider("other"), provider_with(BTC), store=store)
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON)
    assert len(fetched.ready[BTC]) == 5
    assert [source for _, _, source in store.writes] == ["venue"]


async def test_a_series_that_nobody_knows_is_unknown_and_not_asked_for_every_time() -> None:
    provider = ScriptedProvider("venue")
    data = open_market(provider)
    for _ in range(2):
        fetched = await data.closed_bars_of({BTC: 5}, until=NOON)
    assert fetched.unknown == {BTC: "venue has no BTC/USDT 1h"}
    assert len(provider.asked) == 1


async def test_imported_bars_serve_a_series_that_no_provider_knows() -> None:
    store = MemoryBarStore()
    store.bars[BTC] = bars_until(NOON - HOUR)
    fetched = await open_market(store=store).closed_bars_of({BTC: 5}, until=NOON)
    assert len(fetched.ready[BTC]) == 5


async def test_a_broken_source_is_told() -> None:
    provider = provider_with(BTC)
    provider.error = InvalidInput("the key of venue is wrong")
    fetched = await open_market(provider).closed_bars_of({BTC: 5}, until=NOON)
    assert fetched.unknown == {BTC: "the key of venue is wrong"}


async def test_a_programming_error_of_a_provider_is_raised() -> None:
    provider = provider_with(BTC)
    provider.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await open_market(provider).closed_bars_of({BTC: 5}, until=NOON)


# --- a provider that lies ---


async def test_a_bar_that_is_not_closed_by_our_clock_is_none_whatever_the_provider_says() -> None:
    store, provider = MemoryBarStore(), provider_with(BTC, newest=NOON)
    fetched = await open_market(provider, store=store).closed_bars_of({BTC: 5}, until=NOON + HOUR / 2)
    assert fetched.ready[BTC].time_at(-1) == NOON - HOUR
    assert store.bars[BTC].time_at(-1) == NOON - HOUR


async def test_a_bar_from_the_future_is_put_aside() -> None:
    store, provider = MemoryBarStore(), provider_with(BTC, newest=NOON + 3 * HOUR)
    fetched = await open_market(provider, store=store).closed_bars_of({BTC: 10}, until=NOON)
    assert fetched.ready[BTC].time_at(-1) == NOON - HOUR
    ((_, aside),) = store.put_aside
    assert [aside.bars.time_at(i) for i in range(3)] == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert set(aside.reasons) == {Flaw.FUTURE}


async def test_an_impossible_bar_is_put_aside_with_its_reason_and_never_used() -> None:
    store, provider = MemoryBarStore(), ScriptedProvider()
    good = bars_until(NOON - 2 * HOUR)
    provider.bars[BTC] = good.followed_by(Bars.from_rows([(NOON - HOUR, 100.0, 90.0, 95.0, 100.0, 1.0)]))
    fetched = await open_market(provider, store=store).closed_bars_of({BTC: 5}, until=NOON)
    assert fetched.ready[BTC].time_at(-1) == NOON - 2 * HOUR
    assert [aside.reasons for _, aside in store.put_aside] == [(Flaw.HIGH_BELOW_LOW,)]
    assert fetched.awaited == {BTC}


async def test_a_revised_bar_takes_the_place_of_the_old_one() -> None:
    store, provider = MemoryBarStore(), provider_with(BTC)
    data = open_market(provider, store=store)
    await data.closed_bars_of({BTC: 3}, until=NOON)
    revised = bars_until(NOON)
    rows = [(revised.time_at(i), 100.0, 120.0, 90.0, float(revised.close[i]), 1.0) for i in range(len(revised))]
    rows[-2] = (NOON - HOUR, 100.0, 120.0, 90.0, 111.0, 9.0)
    provider.bars[BTC] = Bars.from_rows(rows)
    fetched = await data.closed_bars_of({BTC: 2}, until=NOON + HOUR)
    assert closes(fetched.ready[BTC]) == pytest.approx([111.0, 101.2])
    assert closes(store.bars[BTC])[-2:] == pytest.approx([111.0, 101.2])


async def test_a_history_on_another_base_is_fetched_anew_so_that_no_split_becomes_a_jump() -> None:
    store, provider = MemoryBarStore(), provider_with(BTC)
    data = open_market(provider, store=store)
    await data.closed_bars_of({BTC: 8}, until=NOON)
    provider.bars[BTC] = bars_until(NOON, count=11, scale=0.5)
    fetched = await data.closed_bars_of({BTC: 8}, until=NOON + HOUR)
    assert max(closes(fetched.ready[BTC])) < 60
    assert max(closes(store.bars[BTC])) < 60


# --- pauses ---


async def test_a_provider_is_not_asked_more_often_than_it_allows() -> None:
    provider = ScriptedProvider("venue", traits=ProviderTraits(calls_per_minute=12))
    wanted = {Series(f"S{number}", Timeframe.H1): 5 for number in range(4)}
    provider.bars = {series: bars_until(NOON - HOUR) for series in wanted}
    data = open_market(provider)
    fetched = await data.closed_bars_of(wanted, until=NOON, within=AT_ONCE)
    await data.close()
    assert (len(provider.asked), len(fetched.ready), len(fetched.late)) == (1, 1, 3)


async def test_a_failing_provider_is_left_alone_for_growing_pauses() -> None:
    provider, clock = ScriptedProvider("venue"), Seconds()
    provider.error = TemporaryFailure("venue: 502")
    data = open_market(provider, monotonic=clock)
    for number in range(6):
        await data.closed_bars_of({Series(f"S{number}", Timeframe.H1): 5}, until=NOON)
    assert len(provider.asked) == 3
    (state,) = data.providers
    assert (state.failures, state.paused_seconds, state.last_error) == (3, 2.0, "venue: 502")
    clock.now = 2.5
    for number in range(6, 9):
        await data.closed_bars_of({Series(f"S{number}", Timeframe.H1): 5}, until=NOON)
    assert len(provider.asked) == 4  # one try; it failed, and the pause is twice as long
    assert data.providers[0].paused_seconds == 4.0


async def test_a_provider_gets_the_pause_that_it_asks_for() -> None:
    provider, clock = ScriptedProvider("venue"), Seconds()
    provider.error = TemporaryFailure("venue: 429", retry_after_seconds=40)
    data = open_market(provider, monotonic=clock)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    provider.error = None
    provider.bars = {Series("A", Timeframe.H1): bars_until(NOON - HOUR)}
    clock.now = 39.0
    early = await data.closed_bars_of({Series("A", Timeframe.H1): 5}, until=NOON)
    clock.now = 161.0
    later = await data.closed_bars_of({Series("A", Timeframe.H1): 5}, until=NOON)
    assert early.late == {Series("A", Timeframe.H1)}
    assert len(later.ready) == 1


async def test_an_unknown_series_is_no_failure_of_the_provider() -> None:
    provider = ScriptedProvider("venue")
    data = open_market(provider)
    for number in range(5):
        await data.closed_bars_of({Series(f"S{number}", Timeframe.H1): 5}, until=NOON)
    assert (len(provider.asked), data.providers[0].failures) == (5, 0)


async def test_a_call_that_takes_too_long_counts_as_a_failure() -> None:
    provider = ScriptedProvider("venue", traits=ProviderTraits(timeout=AT_ONCE))
    provider.gate.clear()
    data = open_market(provider)
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON)
    assert fetched.late == {BTC}
    assert data.providers[0].last_error == "venue did not answer in 0.02 s"


async def test_one_series_is_asked_for_by_its_name_and_refused_with_a_sentence() -> None:
    provider = provider_with(BTC)
    data = open_market(provider)
    assert len(await data.closed_bars("BTCUSDT", Timeframe.H1, NOON, 4)) == 4
    with pytest.raises(NotFound, match="venue has no ETH/USDT 1h"):
        await data.closed_bars("ETHUSDT", Timeframe.H1, NOON, 4)


async def test_all_spellings_of_a_symbol_are_one_series() -> None:
    provider = provider_with(BTC)
    other = Series("BTCUSDT", Timeframe.H1)
    fetched: FetchedBars = await open_market(provider).closed_bars_of({other: 2, BTC: 5}, until=NOON)
    assert {str(series): len(bars) for series, bars in fetched.ready.items()} == {
        "BTCUSDT 1h": 2,
        "BTC/USDT 1h": 5,
    }
    assert len(provider.asked) == 1


class Weekdays:
    """A market that trades from Monday to Friday."""

    name = "WEEK"
    zone = ZoneInfo("UTC")

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
        return tuple(
            Session(day, datetime.combine(day, time(14, 30), UTC), datetime.combine(day, time(21), UTC))
            for day in days
            if day.weekday() < 5
        )


async def test_nobody_is_asked_on_a_weekend_for_what_a_closed_market_cannot_have() -> None:
    apple, friday = Series("AAPL", Timeframe.D1), datetime(2024, 1, 5, tzinfo=UTC)
    provider = ScriptedProvider()
    provider.bars[apple] = Bars.from_rows([(friday, 180.0, 182.0, 179.0, 181.0, 1e6)])
    data = open_market(provider, calendar=Weekdays(), ttl=timedelta(0))
    for day in (1, 2, 3):
        fetched = await data.closed_bars_of({apple: 1}, until=friday + timedelta(days=day, hours=12))
    assert len(provider.asked) == 1
    assert (fetched.stale, fetched.awaited) == ({}, frozenset())
    await data.closed_bars_of({apple: 1}, until=friday + timedelta(days=4))  # Monday's bar is due
    assert len(provider.asked) == 2


def one_broken_among(count: int) -> Bars:
    """Hourly bars up to 11:00, of which the third has its high below its low."""
    good = bars_until(NOON - HOUR, count)
    rows = [
        (good.time_at(i), 100.0, 80.0 if i == 2 else 120.0, 90.0, 100.0, float(good.volume[i]))
        for i in range(count)
    ]
    return Bars.from_rows(rows)


@pytest.mark.parametrize("given", [Bars.empty(), one_broken_among(10)])
async def test_bars_that_are_fewer_than_wanted_are_fetched_once_for_all_callers(given: Bars) -> None:
    provider = ScriptedProvider()
    provider.bars = {BTC: given}
    provider.gate.clear()
    data = open_market(provider)
    calls = [asyncio.create_task(data.closed_bars_of({BTC: 10}, until=NOON)) for _ in range(20)]
    await provider.until_under_way(1)
    provider.gate.set()
    await asyncio.gather(*calls)
    await data.closed_bars_of({BTC: 10}, until=NOON)
    assert len(provider.asked) == 1


@pytest.mark.parametrize("ago", [3, 9, 30])
async def test_who_asks_for_the_past_gets_as_many_bars_as_who_asks_for_now(ago: int) -> None:
    provider = ScriptedProvider()
    provider.bars = {BTC: bars_until(NOON - HOUR, 100)}
    data = open_market(provider)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    then = NOON - ago * HOUR
    past = (await data.closed_bars_of({BTC: 5}, until=then)).ready[BTC]
    assert [past.time_at(i) for i in range(len(past))] == [then - HOUR * i for i in (5, 4, 3, 2, 1)]


async def test_a_question_about_the_past_takes_nothing_newer_out_of_memory() -> None:
    provider, clock = ScriptedProvider(), Seconds()
    provider.bars = {BTC: bars_until(NOON - HOUR, 100)}
    data = open_market(provider, monotonic=clock)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    clock.now = 301.0  # the store is read again by whoever comes next
    await data.closed_bars_of({BTC: 5}, until=NOON - 30 * HOUR)
    asked = len(provider.asked)
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON)
    assert (fetched.ready[BTC].time_at(-1), fetched.awaited) == (NOON - HOUR, frozenset())
    assert len(provider.asked) == asked


async def test_without_an_answer_a_past_that_memory_does_not_reach_is_late() -> None:
    provider = ScriptedProvider()
    provider.bars = {BTC: bars_until(NOON - HOUR, 100)}
    data = open_market(provider)
    await data.closed_bars_of({BTC: 5}, until=NOON)
    provider.error = TemporaryFailure("502")
    fetched = await data.closed_bars_of({BTC: 5}, until=NOON - 30 * HOUR)
    assert fetched.late == {BTC}
    assert not fetched.ready


async def test_a_pause_that_one_call_is_told_holds_though_others_under_way_are_answered() -> None:
    provider = ScriptedProvider("venue")
    provider.bars = {BTC: bars_until(NOON - HOUR)}
    lane = ProviderLane(provider, monotonic=lambda: 0.0, spread=lambda: 0.0)
    provider.gate.clear()
    answered = asyncio.create_task(lane.closed_bars(BTC, NOON, 5))
    await provider.until_under_way(1)
    with pytest.raises(TemporaryFailure, match="429"):
        async with lane.asking():
            raise TemporaryFailure("venue: 429", retry_after_seconds=40)
    provider.gate.set()
    await answered
    assert lane.state.paused_seconds == 40.0
