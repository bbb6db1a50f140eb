"""Another base, as after a split: all that is stored follows, also what the provider does not give any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.download import Downloader
from atf.market.provider_lane import ProviderLane
from atf.market.rebasing import is_far, is_rebased, multiplied, rebased
from atf.testing.market import MemoryBarStore, ScriptedProvider, open_market

FIRST = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
T = Series("T", Timeframe.H1)


def opens(index: int) -> datetime:
    return FIRST + index * HOUR


def bars(first: int, end: int, *missing: int, factor: float = 1.0) -> Bars:
    """Hours from an index to before another, whose prices tell them apart; as if there had been a split."""
    rows = [(opens(i), 100.0 + i, 104.0 + i, 96.0 + i, 102.0 + i, 40.0 + i) for i in range(first, end)]
    whole = multiplied(Bars.from_rows(rows), factor)
    return whole.where(~np.isin(np.arange(first, end), missing))


def is_same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and all(
        np.allclose(one.column(name), other.column(name), rtol=1e-12) for name in COLUMNS
    )


# --- what becomes of bars ---


def test_bars_that_were_not_fetched_follow_by_the_factor_of_those_that_were() -> None:
    found = rebased(bars(10, 20), bars(10, 21, 13, factor=0.25))
    assert found.older_factor == 0.25
    assert is_same(found.bars, bars(10, 21, factor=0.25))


def test_on_the_same_base_nothing_is_multiplied() -> None:
    found = rebased(bars(10, 20), bars(10, 21, 13))
    assert found.older_factor == 1.0
    assert is_same(found.bars, bars(10, 21))


def test_what_somebody_else_has_brought_to_the_new_base_stays_there() -> None:
    """Stored are the old ones on the new base, and behind them one that a slow process wrote on the old base."""
    stored = bars(10, 19, factor=0.25).followed_by(bars(19, 20))
    found = rebased(stored, bars(10, 21, 13, factor=0.25))
    assert found.older_factor == 1.0
    assert is_same(found.bars, bars(10, 21, factor=0.25))


def test_the_factor_is_measured_over_many_bars_as_prices_are_rounded() -> None:
    fetched = bars(0, 60, factor=1 / 3)
    rounded = Bars.from_columns(
        fetched.open_time, np.column_stack([np.round(fetched.column(name), 2) for name in COLUMNS])
    )
    assert rebased(bars(0, 60), rounded).older_factor == pytest.approx(1 / 3, rel=2e-5)


def test_a_first_bar_that_is_only_a_part_does_not_mislead() -> None:
    fetched = bars(0, 20, factor=0.5)
    part = Bars.from_rows([(opens(0), 70.0, 70.0, 69.0, 69.5, 1.0)])
    assert rebased(bars(0, 20), part.followed_by(fetched[1:])).older_factor == 0.5


def test_where_nothing_meets_nothing_is_multiplied() -> None:
    found = rebased(bars(0, 3), bars(3, 5, factor=0.5))
    assert found.older_factor == 1.0
    assert len(found.bars) == 5


@given(
    st.sampled_from([0.05, 0.25, 2 / 3, 1.02, 1.5, 10.0]),
    st.sets(st.integers(0, 29)),
    st.sets(st.integers(0, 29), min_size=1),
)
def test_whatever_was_stored_and_fetched_afterwards_all_is_on_one_base(
    factor: float, stored: set[int], fetched: set[int]
) -> None:
    fetched |= {max(stored, default=0)}  # by which the other base was seen
    first, last = min(fetched), max(fetched)
    old = bars(0, 30).where(np.isin(np.arange(30), list(stored)))
    new = bars(0, 30, factor=factor).where(np.isin(np.arange(30), list(fetched)))
    found = rebased(old.since(opens(first)).before(opens(last + 1)), new)
    whole = multiplied(old.before(opens(first)), found.older_factor).joined_with(found.bars)
    expected = bars(0, 30, factor=factor).where(np.isin(np.arange(30), list(stored | fetched)))
    if stored & fetched:
        assert is_same(whole, expected)


def test_a_bar_is_far_off_whose_opening_no_usual_move_explains() -> None:
    closed = bars(0, 5)  # closes at 106
    for price, is_apart in ((106.0, False), (110.0, False), (112.0, True), (26.5, True), (float("nan"), True)):
        following = Bars.from_rows([(opens(5), price, 200.0, 1.0, 106.0, 1.0)])
        assert is_far(closed, following) is is_apart
    assert not is_far(Bars.empty(), closed)


def test_another_base_is_one_factor_in_all_prices() -> None:
    assert is_rebased(bars(0, 5), bars(2, 6, factor=0.5))
    assert not is_rebased(bars(0, 5), bars(2, 6, factor=1.004))
    revised = Bars.from_rows([(opens(4), 104.0, 110.0, 100.0, 50.0, 44.0)])
    assert not is_rebased(bars(0, 5), revised)
    assert not is_rebased(bars(0, 5), bars(5, 6, factor=0.5))


# --- through the DataManager ---


class Forgetful(ScriptedProvider):
    """A provider that gives what is closed, and nothing that opens before an instant."""

    forgets_before = FIRST

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        since = max(since or self.forgets_before, self.forgets_before)
        found = (await super().closed_bars(series, until, 10**9, since)).closed_at(until, series.timeframe)
        return found.last(count)


@pytest.fixture
def provider() -> Forgetful:
    found = Forgetful("venue")
    found.bars[T] = bars(0, 40)
    return found


async def test_what_the_provider_does_not_give_any_more_follows_the_split(provider: Forgetful) -> None:
    store = MemoryBarStore()
    data = open_market(provider, store=store)
    await data.closed_bars("T", Timeframe.H1, opens(40), 40)
    provider.bars[T], provider.forgets_before = bars(0, 41, factor=0.25), opens(30)
    answer = await data.closed_bars("T", Timeframe.H1, opens(41), 40)
    assert is_same(answer, bars(1, 41, factor=0.25))
    assert is_same(store.bars[T], bars(0, 41, factor=0.25))


async def test_memory_and_store_agree_after_a_split(provider: Forgetful) -> None:
    store = MemoryBarStore()
    data = open_market(provider, store=store)
    await data.closed_bars("T", Timeframe.H1, opens(40), 20)
    provider.bars[T], provider.forgets_before = bars(0, 41, 35, factor=0.25), opens(30)
    answer = await data.closed_bars("T", Timeframe.H1, opens(41), 20)
    assert is_same(answer, store.bars[T].last(20))
    assert is_same(answer, bars(21, 41, factor=0.25))


async def test_of_two_processes_that_see_a_split_only_one_multiplies(provider: Forgetful) -> None:
    store = MemoryBarStore()
    processes = [open_market(provider, store=store) for _ in range(2)]
    for data in processes:
        await data.closed_bars("T", Timeframe.H1, opens(40), 40)
    provider.bars[T], provider.forgets_before = bars(0, 42, factor=0.25), opens(30)
    for data, hour in zip(processes, (41, 42), strict=True):
        answer = await data.closed_bars("T", Timeframe.H1, opens(hour), 40)
        assert is_same(answer, bars(hour - 40, hour, factor=0.25))
    assert is_same(store.bars[T], bars(0, 42, factor=0.25))


async def test_a_second_split_multiplies_once_more(provider: Forgetful) -> None:
    store = MemoryBarStore()
    data = open_market(provider, store=store)
    await data.closed_bars("T", Timeframe.H1, opens(40), 40)
    for hour, factor in ((41, 0.5), (42, 1.5)):
        provider.bars[T], provider.forgets_before = bars(0, hour, factor=factor), opens(hour - 8)
        await data.closed_bars("T", Timeframe.H1, opens(hour), 40)
    assert is_same(store.bars[T], bars(0, 42, factor=1.5))


async def test_a_history_that_is_not_on_the_base_of_the_newest_bars_is_not_taken(provider: Forgetful) -> None:
    """Yahoo's machines do not all change at the same moment."""
    store = MemoryBarStore()
    data = open_market(provider, store=store)
    await data.closed_bars("T", Timeframe.H1, opens(40), 40)

    class Torn(Forgetful):
        async def closed_bars(
            self, series: Series, until: datetime, count: int, since: datetime | None = None
        ) -> Bars:
            self.bars[T] = bars(0, 41, factor=0.25) if count < 100 else bars(0, 40)
            return await super().closed_bars(series, until, count, since)

    torn = Torn("venue")
    fetched = await open_market(torn, store=store).closed_bars_of({T: 40}, until=opens(41))
    assert is_same(fetched.ready[T], bars(0, 40))
    assert "two bases" in fetched.stale[T]
    assert is_same(store.bars[T], bars(0, 40))


# --- through a download ---


def downloader(provider: ScriptedProvider, store: MemoryBarStore) -> Downloader:
    return Downloader(ProviderLane(provider, monotonic=lambda: 0.0), store)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("since", [None, 5, 35], ids=str)
async def test_a_download_brings_all_to_the_new_base_at_once(
    provider: Forgetful, since: int | None, again: bool
) -> None:
    store = MemoryBarStore()
    await downloader(provider, store).download(T, opens(10), opens(40))
    provider.bars[T], provider.forgets_before = bars(0, 45, factor=0.25), opens(30)
    store.writes.clear()
    begin = None if since is None else opens(since)
    await downloader(provider, store).download(T, begin, opens(45), again=again)
    assert is_same(store.bars[T], bars(10, 45, factor=0.25))
    assert len(store.writes) == 1


async def test_a_download_of_older_bars_alone_sees_the_other_base(provider: Forgetful) -> None:
    store = MemoryBarStore()
    await downloader(provider, store).download(T, opens(20), opens(40))
    provider.bars[T] = bars(0, 45, factor=0.25)
    await downloader(provider, store).download(T, opens(10), opens(35))
    assert is_same(store.bars[T], bars(10, 40, factor=0.25))


async def test_a_download_that_goes_on_needs_no_question_about_the_base_alone(provider: Forgetful) -> None:
    store = MemoryBarStore()
    await downloader(provider, store).download(T, opens(20), opens(30))
    provider.asked.clear()
    await downloader(provider, store).download(T, opens(10), opens(40))
    assert [since for _, _, _, since in provider.asked] == [opens(29), opens(10)]
