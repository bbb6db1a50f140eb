"""A bar that its provider publishes after a newer one is fetched with the next one, and nothing else changes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.adapters.providers.streamed import StreamedBarProvider
from atf.errors import TemporaryFailure
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.data_manager import DataManager
from atf.market.holes import RECENT, before_recent_hole
from atf.market.stream import BarUpdate, StreamListener
from atf.testing.market import MemoryBarStore, ScriptedProvider, open_market

FIRST = datetime(2024, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC = Series("BTC/USDT", Timeframe.M1)


def opens(index: int) -> datetime:
    return FIRST + index * MINUTE


def bars(indices: Collection[int], close: float = 100.0) -> Bars:
    return Bars.from_rows([(opens(i), close, close + i, close - 1, close, 1.0 + i) for i in indices])


def all_but(end: int, *missing: int, first: int = 0) -> Bars:
    """Minutes from an index to before another, with holes."""
    return bars([i for i in range(first, end) if i not in missing])


def indices(of: Bars) -> list[int]:
    return [(of.time_at(i) - FIRST) // MINUTE for i in range(len(of))]


def same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and all(
        np.array_equal(one.column(name), other.column(name)) for name in COLUMNS
    )


class Venue:
    """A market whose provider publishes what a test says; each look is at the close of a further minute."""

    def __init__(self, *others: ScriptedProvider, held: Bars | None = None) -> None:
        self.own = ScriptedProvider("own")
        self.others = others
        self.store = MemoryBarStore()
        if held is not None:
            self.store.bars[BTC] = held
        self.restart()

    def restart(self) -> None:
        self.data: DataManager = open_market(self.own, *self.others, store=self.store, ttl=timedelta(0))

    async def look(self, minute: int, published: Bars, count: int = 10) -> Bars:
        self.own.bars[BTC] = published
        fetched = await self.data.closed_bars_of({BTC: count}, until=opens(minute))
        return fetched.ready[BTC]


async def test_a_bar_that_is_published_after_a_newer_one_comes_with_the_next() -> None:
    venue = Venue()
    assert indices(await venue.look(30, all_but(30, 28))) == [*range(19, 28), 29]
    assert indices(await venue.look(31, all_but(31))) == list(range(21, 31))
    assert indices(venue.store.bars[BTC]) == list(range(19, 31))


async def test_it_costs_no_further_question() -> None:
    venue = Venue()
    await venue.look(30, all_but(30, 27, 28))
    await venue.look(31, all_but(31))
    await venue.look(32, all_but(32))
    assert [(count, since) for _, _, count, since in venue.own.asked] == [
        (10, None),
        (6, opens(26)),
        (3, opens(30)),  # no hole is left
    ]


async def test_it_comes_also_to_a_process_that_finds_the_hole_in_the_store() -> None:
    venue = Venue(held=all_but(30, 28))
    venue.own.bars[BTC] = all_but(30, 28)
    await venue.look(30, all_but(30, 28))
    venue.restart()
    assert indices(await venue.look(31, all_but(31))) == list(range(21, 31))
    assert indices(venue.store.bars[BTC]) == list(range(31))


async def test_the_bars_around_a_hole_stay_as_they_are_held_but_for_the_newest() -> None:
    venue = Venue()
    before = await venue.look(30, all_but(30, 27))
    after = await venue.look(31, bars(range(31), close=100.4))
    changed = dict(zip(indices(after), after.close.tolist(), strict=True))
    assert {i for i, close in changed.items() if close == 100.4} == {27, 29, 30}
    assert all(changed[i] == 100.0 for i in indices(before) if i not in (20, 29) and i >= 21)


async def test_memory_and_store_agree_after_a_late_bar() -> None:
    venue = Venue()
    await venue.look(30, all_but(30, 27, 28))
    for minute, published in ((31, all_but(31, 28)), (32, bars(range(32), close=100.3))):
        answer = await venue.look(minute, published)
        stored = (await venue.store.closed_bars_of({BTC: 10}, opens(minute)))[BTC]
        assert same(answer, stored)
    venue.restart()
    assert same(await venue.look(32, bars(range(32), close=100.3)), stored)


async def test_only_late_bars_are_written_beside_the_new_one() -> None:
    venue = Venue()
    await venue.look(30, all_but(30, 27))
    await venue.look(31, all_but(31))
    assert [indices(written) for _, written, _ in venue.store.writes[1:]] == [[27, 30]]


async def test_a_hole_that_stays_is_asked_about_until_it_is_old() -> None:
    venue = Venue()
    for minute in range(30, 60):
        await venue.look(minute, all_but(minute, 28))
    from_before = [since for _, _, _, since in venue.own.asked if since == opens(27)]
    assert len(from_before) == RECENT + 1
    assert len(venue.own.asked) == 30
    assert max(count for _, _, count, _ in venue.own.asked) <= RECENT + 6


async def test_another_base_is_seen_though_there_is_a_hole() -> None:
    venue = Venue()
    await venue.look(30, all_but(30, 27))
    whole = bars(range(31))
    prices = [whole.column(name) / 4 for name in COLUMNS[:4]]
    split = Bars.from_columns(whole.open_time, np.column_stack([*prices, whole.volume * 4]))
    answer = await venue.look(31, split)
    assert set(answer.close.tolist()) == set(venue.store.bars[BTC].close.tolist()) == {25.0}


async def test_a_hole_in_what_was_borrowed_is_filled_by_whom_it_was_borrowed_of() -> None:
    other = ScriptedProvider("other")
    venue = Venue(other)
    await venue.look(30, all_but(30, 28))
    venue.own.error = TemporaryFailure("down")
    other.bars[BTC] = all_but(32, 30)
    assert indices(await venue.look(32, Bars.empty(), 4)) == [26, 27, 29, 31]
    other.bars[BTC] = all_but(33)
    # The hole of the own provider is not for others to fill: their bars would stand between its own.
    assert indices(await venue.look(33, Bars.empty(), 6)) == [26, 27, 29, 30, 31, 32]
    assert indices(venue.store.bars[BTC]) == [*range(19, 28), 29]
    venue.own.error = None
    assert indices(await venue.look(34, all_but(34), 6)) == list(range(28, 34))
    assert indices(venue.store.bars[BTC]) == list(range(19, 34))


@pytest.mark.parametrize(
    ("missing", "since"),
    [
        ((), 99),
        ((98,), 97),
        ((84, 98), 83),
        ((82, 98), 81),
        ((81, 98), 97),
        ((81,), 99),
        (tuple(range(20, 95)), 19),
    ],
)
def test_the_first_recent_hole_counts_however_wide_it_is(missing: tuple[int, ...], since: int) -> None:
    assert before_recent_hole(all_but(100, *missing), Timeframe.M1) == opens(since)


def test_a_hole_of_days_is_asked_about_by_a_page() -> None:
    held = bars([0, 5_000, 5_001])
    assert before_recent_hole(held, Timeframe.M1) == opens(5_001 - 90)
    assert before_recent_hole(bars([7]), Timeframe.M1) == opens(7)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_nothing_is_missing_between_recent_bars_before_where_is_asked_from(held: set[int]) -> None:
    newest = max(held)
    since = (before_recent_hole(bars(held), Timeframe.M1) - FIRST) // MINUTE
    assert since in held
    recent = [i for i in sorted(held) if i <= since and i >= newest - RECENT]
    assert recent == list(range(since - len(recent) + 1, since + 1))


# --- streamed bars ---


class Closable(ScriptedProvider):
    async def aclose(self) -> None:
        """Nothing is open."""


class SilentStream:
    """A stream that only a test speaks for."""

    def follow(self, series: Series) -> None:
        """Nobody is asked."""

    def unfollow(self, series: Series) -> None:
        """Nobody is asked."""

    async def run(self, listener: StreamListener) -> None:
        """Nothing comes by itself."""


def streamed(index: int) -> BarUpdate:
    bar = bars([index])
    first, second, third, fourth, fifth = (float(bar.column(name)[0]) for name in COLUMNS)
    return BarUpdate(BTC, opens(index), (first, second, third, fourth, fifth), True, opens(index + 1))


async def test_a_stream_that_goes_on_behind_a_hole_does_not_keep_it() -> None:
    asked = Closable("asked")
    provider = StreamedBarProvider(asked, SilentStream())
    data = open_market(provider, ttl=timedelta(0))
    asked.bars[BTC] = all_but(30, 28)
    await data.closed_bars_of({BTC: 10}, until=opens(30))
    asked.bars[BTC] = all_but(31)
    provider.updated(streamed(30))
    fetched = await data.closed_bars_of({BTC: 10}, until=opens(31))
    assert indices(fetched.ready[BTC]) == list(range(21, 31))
    for index in range(31, 40):
        provider.updated(streamed(index))
        fetched = await data.closed_bars_of({BTC: 10}, until=opens(index + 1))
    assert indices(fetched.ready[BTC]) == list(range(30, 40))
    assert len(asked.asked) == 2  # the stream alone was enough, once the hole was filled
    await provider.aclose()
