"""A made-up market must be the same for everybody, and as a market is: regimes, jumps, gaps, hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.adapters.providers.simulated import SimulatedBarProvider
from atf.adapters.providers.simulated_market import Regime, SimulatedMarket
from atf.errors import NotFound
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.quality import sort_out
from atf.market.resampling import resampled

NOW = datetime(2024, 6, 5, 14, 37, 20, tzinfo=UTC)
DAY = timedelta(days=1)
NEVER_MISSING = replace(SimulatedMarket(), missing_minutes=0.0, outages_a_day=0.0)
LENGTHS = [Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.M30, Timeframe.H1, Timeframe.H4, Timeframe.D1]


def same(one: Bars, other: Bars) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("open_time", *COLUMNS))


async def bars_of(timeframe: Timeframe, count: int, *, symbol: str = "SIM", seed: int = 1) -> Bars:
    return await SimulatedBarProvider(seed).closed_bars(Series(symbol, timeframe), NOW, count)


@settings(max_examples=25, deadline=None)
@given(
    until=st.timedeltas(-500 * DAY, timedelta(0)).map(lambda ago: NOW + ago),
    count=st.integers(1, 400),
    timeframe=st.sampled_from(LENGTHS),
)
async def test_a_bar_does_not_depend_on_what_was_asked(until: datetime, count: int, timeframe: Timeframe) -> None:
    provider, series = SimulatedBarProvider(7), Series("SIM", timeframe)
    asked = await provider.closed_bars(series, until, count)
    assert len(asked) == count
    wider = await provider.closed_bars(series, until + 3 * timeframe.length, count + 40)
    first, last = asked.time_at(0), asked.time_at(-1)
    assert same(wider.since(first).before(last + timeframe.length), asked)
    alone = await provider.closed_bars(series, until, count, since=last)
    assert same(alone, asked.last(1))


@pytest.mark.parametrize("timeframe", [*LENGTHS[1:], Timeframe.W1])
async def test_coarser_bars_are_finer_ones_resampled(timeframe: Timeframe) -> None:
    coarse = await bars_of(timeframe, 3)
    since = coarse.time_at(0)
    until = coarse.time_at(-1) + timeframe.length
    fine = await SimulatedBarProvider(1).closed_bars(Series("SIM", Timeframe.M1), until, 50_000, since=since)
    assert same(resampled(fine, Timeframe.M1, timeframe), coarse)


async def test_seed_and_symbol_make_another_market_and_the_spelling_does_not() -> None:
    one = await bars_of(Timeframe.H1, 50, symbol="BTC/USDT")
    assert same(await bars_of(Timeframe.H1, 50, symbol="BTC/USDT"), one)
    assert same(await bars_of(Timeframe.H1, 50, symbol="BTCUSDT"), one)
    assert not np.array_equal((await bars_of(Timeframe.H1, 50, symbol="BTC/USDT", seed=2)).close, one.close)
    assert not np.array_equal((await bars_of(Timeframe.H1, 50, symbol="ETH/USDT")).close, one.close)


@pytest.mark.parametrize("symbol", ["SIM", "AAPL", "DOGE/USDT", "EUR/USD"])
async def test_its_bars_are_possible(symbol: str) -> None:
    bars = await bars_of(Timeframe.M1, 20_000, symbol=symbol)
    assert sort_out(bars, Timeframe.M1).reasons == ()


async def test_minutes_follow_each_other_without_a_break_in_price() -> None:
    provider = SimulatedBarProvider(1, replace(NEVER_MISSING, jumps_a_day=0.0))
    bars = await provider.closed_bars(Series("SIM", Timeframe.M1), NOW, 5000)
    assert np.array_equal(bars.open[1:], bars.close[:-1])
    assert (np.diff(bars.open_time) == 60 * 10**9).all()


async def test_minutes_are_missing_alone_and_in_outages() -> None:
    bars = await bars_of(Timeframe.M1, 100_000)
    missing = np.diff(bars.open_time) // (60 * 10**9) - 1
    assert 50 < (missing == 1).sum() < 400
    assert (missing >= 24).any()


async def test_jumps_are_as_often_as_they_are_wished() -> None:
    moves = {}
    for often in (0.0, 1.0):
        market = replace(NEVER_MISSING, jumps_a_day=often, jump_size=0.5)
        bars = await SimulatedBarProvider(1, market).closed_bars(Series("SIM", Timeframe.M1), NOW, 30 * 1440)
        moves[often] = int((np.abs(np.log(bars.close / bars.open)) > 0.02).sum())
    assert moves[0.0] == 0
    assert moves[1.0] > 20


async def test_regimes_decide_how_the_market_moves() -> None:
    async def daily(regime: Regime) -> Bars:
        market = replace(SimulatedMarket(), regimes=(regime,), jumps_a_day=0.0)
        return await SimulatedBarProvider(1, market).closed_bars(Series("SIM", Timeframe.D1), NOW, 100)

    rising = await daily(Regime(drift=0.01, volatility=0.001, volume=1.0))
    assert np.log(rising.close[-1] / rising.open[0]) == pytest.approx(1.0, abs=0.05)
    quiet, wild = [await daily(Regime(0.0, volatility, 1.0)) for volatility in (0.002, 0.04)]
    quiet_range, wild_range = [float(np.mean(np.log(each.high / each.low))) for each in (quiet, wild)]
    assert wild_range > 10 * quiet_range


async def test_volume_is_high_by_day_and_low_by_night() -> None:
    bars = await bars_of(Timeframe.H1, 24 * 40)
    by_hour = [bars.volume[(bars.open_time // (3600 * 10**9)) % 24 == hour].mean() for hour in range(24)]
    assert max(range(24), key=by_hour.__getitem__) in range(10, 18)
    assert max(by_hour) > 2 * min(by_hour)


async def test_there_is_nothing_before_the_first_day() -> None:
    provider = SimulatedBarProvider(1, replace(SimulatedMarket(), first_day=date(2024, 6, 3)))
    closed = partial(provider.closed_bars, Series("SIM", Timeframe.D1))
    assert [(await closed(NOW, 99)).time_at(i).day for i in range(2)] == [3, 4]
    assert len(await closed(NOW, 99)) == 2
    assert len(await closed(datetime(2024, 6, 3, tzinfo=UTC), 99)) == 0


async def test_whatever_looks_like_a_symbol_is_known() -> None:
    provider = SimulatedBarProvider()
    assert await provider.knows("ANYTHING", Timeframe.M1)
    assert not await provider.knows("../x", Timeframe.M1)
    with pytest.raises(NotFound, match=r"'\.\./x' is no symbol"):
        await provider.closed_bars(Series("../x", Timeframe.M1), NOW, 1)
