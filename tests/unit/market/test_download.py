from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from atf.errors import NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.download import Download, Downloader, Stretch, missing_stretches, pieces_of
from atf.market.provider_lane import ProviderLane
from atf.testing.market import MemoryBarStore, ScriptedProvider

BTC = Series("BTC/USDT", Timeframe.H1)
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hours(count: int, scale: float = 1.0) -> Bars:
    return Bars.from_rows(
        [
            (FIRST + i * HOUR, 10.0 * scale, (12.0 + i) * scale, 9.0 * scale, 10.5 * scale, 1.0)
            for i in range(count)
        ]
    )


def differing(bars: Bars, at: list[int]) -> Bars:
    """Return bars of which some have another high."""
    columns = {name: bars.column(name).copy() for name in ("open", "high", "low", "close", "volume")}
    columns["high"][at] += 1
    return Bars.from_columns(bars.open_time, np.column_stack([*columns.values()]))


class Honest(ScriptedProvider):
    """Gives only what is closed at ``until``, as a real provider."""

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        found = await super().closed_bars(series, until, 10**9, since)
        self.asked[-1] = (series, until, count, since)
        return found.closed_at(until, series.timeframe).last(count)


class Desk:
    """A provider with 12,000 hours, a store, and pauses that are noted instead of waited for."""

    def __init__(self) -> None:
        self.provider = Honest("venue")
        self.provider.bars[BTC] = hours(12_000)
        self.store = MemoryBarStore()
        self.pauses: list[float] = []
        lane = ProviderLane(self.provider, monotonic=lambda: 0.0, spread=lambda: 0.0)
        self.downloader = Downloader(lane, self.store, sleep=self.pause)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_history_comes_in_pieces_that_are_stored_one_by_one(desk: Desk) -> None:
    seen: list[Download] = []
    end = FIRST + 12_000 * HOUR
    done = await desk.downloader.download(BTC, FIRST, end, on_piece=seen.append)
    assert (done.bars, done.share, len(desk.store.bars[BTC])) == (12_000, 1.0, 12_000)
    assert [one.bars for one in seen] == [5_000, 10_000, 12_000]
    assert [len(bars) for _, bars, _ in desk.store.writes] == [5_000, 5_000, 2_000]


async def test_what_is_stored_is_not_fetched_again(desk: Desk) -> None:
    await desk.downloader.download(BTC, FIRST, FIRST + 100 * HOUR)
    desk.provider.asked.clear()
    done = await desk.downloader.download(BTC, FIRST, FIRST + 110 * HOUR)
    ((_, _, count, since),) = desk.provider.asked
    assert (since, count) == (FIRST + 99 * HOUR, 12)
    assert done.bars == 10


async def test_a_recent_hole_is_filled_and_nothing_else_of_what_is_stored_changes(desk: Desk) -> None:
    stored = hours(100)
    lacking = np.arange(100) != 90
    await desk.store.store(BTC, stored.where(lacking))
    desk.provider.bars[BTC] = differing(hours(12_000), at=[88, 95])
    done = await desk.downloader.download(BTC, None, FIRST + 110 * HOUR)
    assert [since for _, _, _, since in desk.provider.asked] == [FIRST + 89 * HOUR]
    assert done.bars == 11
    assert desk.store.bars[BTC].high.tolist() == hours(110).high.tolist()


async def test_an_older_hole_is_left_to_who_fetches_again(desk: Desk) -> None:
    await desk.store.store(BTC, hours(100).where(np.arange(100) != 70))
    await desk.downloader.download(BTC, FIRST, FIRST + 100 * HOUR)
    assert len(desk.store.bars[BTC]) == 99
    desk.provider.bars[BTC] = differing(hours(100), at=[80])
    done = await desk.downloader.download(BTC, FIRST, FIRST + 100 * HOUR, again=True)
    assert done.bars == 100
    assert desk.store.bars[BTC].high.tolist() == differing(hours(100), at=[80]).high.tolist()


async def test_older_history_is_fetched_before_what_is_stored(desk: Desk) -> None:
    await desk.downloader.download(BTC, FIRST + 50 * HOUR, FIRST + 100 * HOUR)
    await desk.downloader.download(BTC, FIRST, FIRST + 100 * HOUR)
    assert len(desk.store.bars[BTC]) == 100


async def test_nothing_is_stored_if_it_is_not_to_be_kept(desk: Desk) -> None:
    done = await desk.downloader.download(BTC, FIRST, FIRST + 10 * HOUR, keep=False)
    assert (done.bars, desk.store.bars) == (10, {})


async def test_a_provider_gets_the_pause_that_it_asks_for_and_is_asked_again(desk: Desk) -> None:
    failures = iter([TemporaryFailure("429", retry_after_seconds=17), TemporaryFailure("502"), None])

    class Moody(Honest):
        async def closed_bars(
            self, series: Series, until: datetime, count: int, since: datetime | None = None
        ) -> Bars:
            failure = next(failures)
            if failure is not None:
                raise failure
            return await super().closed_bars(series, until, count, since)

    moody = Moody("venue")
    moody.bars = desk.provider.bars
    clock = iter([0.0, 0.0, 20.0, 20.0, 30.0, 30.0])
    lane = ProviderLane(moody, monotonic=lambda: next(clock, 40.0), spread=lambda: 0.0)
    done = await Downloader(lane, desk.store, sleep=desk.pause).download(BTC, FIRST, FIRST + 5 * HOUR)
    assert (done.bars, desk.pauses) == (5, [17, 2.0])


async def test_after_some_tries_the_failure_is_the_callers(desk: Desk) -> None:
    desk.provider.error = TemporaryFailure("venue: 503")
    with pytest.raises(TemporaryFailure):
        await desk.downloader.download(BTC, FIRST, FIRST + 5 * HOUR)
    assert len(desk.pauses) == 3


async def test_pieces_that_were_stored_before_a_failure_stay(desk: Desk) -> None:
    def fail_next(_: Download) -> None:
        desk.provider.error = NotFound("delisted")

    with pytest.raises(NotFound):
        await desk.downloader.download(BTC, FIRST, FIRST + 12_000 * HOUR, on_piece=fail_next)
    assert len(desk.store.bars[BTC]) == 5_000


async def test_older_history_that_was_interrupted_is_completed_by_the_next_download(desk: Desk) -> None:
    end = FIRST + 12_000 * HOUR
    await desk.downloader.download(BTC, end - 100 * HOUR, end)

    def fail_next(_: Download) -> None:
        desk.provider.error = NotFound("venue is closed")

    with pytest.raises(NotFound):
        await desk.downloader.download(BTC, FIRST, end, on_piece=fail_next)
    desk.provider.error = None
    await desk.downloader.download(BTC, FIRST, end)
    assert len(desk.store.bars[BTC]) == 12_000


async def test_a_history_on_another_base_is_fetched_anew(desk: Desk) -> None:
    await desk.downloader.download(BTC, FIRST, FIRST + 100 * HOUR)
    desk.provider.bars[BTC] = hours(200, scale=0.25)
    await desk.downloader.download(BTC, None, FIRST + 200 * HOUR)
    assert float(desk.store.bars[BTC].close.max()) == 10.5 * 0.25
    assert len(desk.store.bars[BTC]) == 200


@pytest.mark.parametrize(("first", "last"), [(0, 50), (300, 400)])
async def test_history_apart_from_what_is_stored_is_fetched_up_to_it(desk: Desk, first: int, last: int) -> None:
    await desk.downloader.download(BTC, FIRST + 100 * HOUR, FIRST + 200 * HOUR)
    await desk.downloader.download(BTC, FIRST + first * HOUR, FIRST + last * HOUR)
    stored = desk.store.bars[BTC]
    assert len(stored) == (stored.time_at(-1) - stored.time_at(0)) // HOUR + 1
    assert (stored.time_at(0), stored.time_at(-1)) == (
        FIRST + min(first, 100) * HOUR,
        FIRST + (max(last, 200) - 1) * HOUR,
    )


async def test_no_bar_is_lost_between_pieces_that_begin_in_the_middle_of_one(desk: Desk) -> None:
    since = FIRST - timedelta(minutes=30)
    await desk.downloader.download(BTC, since, FIRST + 12_000 * HOUR)
    assert len(desk.store.bars[BTC]) == 12_000


def test_without_a_first_time_a_new_series_gets_the_newest_bars() -> None:
    until = FIRST + 1000 * HOUR
    assert missing_stretches(BTC, None, until, None) == (Stretch(until - 500 * HOUR, until),)


def test_nothing_is_missing_in_a_stretch_that_is_stored() -> None:
    ends = (FIRST, FIRST + 100 * HOUR)
    assert missing_stretches(BTC, FIRST + 10 * HOUR, FIRST + 50 * HOUR, ends) == ()


def test_pieces_cover_a_stretch_without_holes() -> None:
    stretch = Stretch(FIRST, FIRST + 12_345 * HOUR)
    pieces = pieces_of(stretch, BTC)
    assert (pieces[0].since, pieces[-1].until) == (stretch.since, stretch.until)
    assert all(one.until == other.since for one, other in pairwise(pieces))
