"""Another base in the database: all of a series follows in one transaction, once."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from atf.market.bar_store import NOTHING, PutAside
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.provider_lane import ProviderLane
from atf.market.quality import Flaw
from atf.market.rebasing import multiplied
from atf.storage import bar_writing, bars_repository
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.testing.market import OneCalendar, ScriptedProvider

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

FIRST = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
T = Series("T", Timeframe.H1)
NEVER_AGAIN = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> PostgresBarStore:
    return PostgresBarStore(database)


def opens(index: int) -> datetime:
    return FIRST + index * HOUR


def bars(first: int, end: int, *missing: int, factor: float = 1.0) -> Bars:
    rows = [(opens(i), 100.0 + i, 104.0 + i, 96.0 + i, 102.0 + i, 40.0 + i) for i in range(first, end)]
    whole = multiplied(Bars.from_rows(rows), factor)
    return whole.where(~np.isin(np.arange(first, end), missing))


async def all_of(store: PostgresBarStore, series: Series = T) -> Bars:
    return await store.between(series)


def is_same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and all(
        np.allclose(one.column(name), other.column(name), rtol=1e-12, equal_nan=True) for name in COLUMNS
    )


@pytest.mark.parametrize("at_once", [7, 200_000], ids=["in steps", "at once"])
async def test_stored_bars_follow_those_that_were_fetched_anew(
    store: PostgresBarStore, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(bar_writing, "_MULTIPLIED_AT_ONCE", at_once)
    others = [Series("T", Timeframe.D1), Series("U", Timeframe.H1)]
    for series in (T, *others):
        await store.store(series, bars(0, 40))
    await store.rebase(T, bars(30, 41, 35, factor=0.25), NOTHING, source="venue")
    assert is_same(await all_of(store), bars(0, 41, factor=0.25))
    for series in others:
        assert is_same(await all_of(store, series), bars(0, 40))


async def test_a_missing_value_stays_missing_and_bad_bars_are_put_aside(
    store: PostgresBarStore, rows: Rows
) -> None:
    odd = Bars.from_rows([(opens(0), math.nan, 104.0, 96.0, 102.0, math.nan)])
    await store.store(T, odd.followed_by(bars(1, 40)))
    await store.rebase(T, bars(30, 40, factor=0.5), PutAside(bars(60, 61), (Flaw.FUTURE,)), source="venue")
    found = await all_of(store)
    assert np.isnan([found.open[0], found.volume[0]]).all()
    assert found.close[0] == 51.0
    assert await rows.value("SELECT count(*) FROM market_bars WHERE open IS NULL AND volume IS NULL") == 1
    assert await rows.value("SELECT count(*) FROM market_bars_quarantine") == 1


async def test_two_who_do_it_at_once_do_it_once(store: PostgresBarStore) -> None:
    for n in range(5):
        series = Series(f"S{n}", Timeframe.H1)
        await store.store(series, bars(0, 40))
        fetched = bars(30, 41, factor=0.25)
        await asyncio.gather(*(store.rebase(series, fetched, NOTHING, source="venue") for _ in range(4)))
        assert is_same(await all_of(store, series), bars(0, 41, factor=0.25))


async def test_what_fails_on_its_way_has_changed_nothing(
    store: PostgresBarStore, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    await store.store(T, bars(0, 40))

    async def dies(name: str) -> None:
        raise ZeroDivisionError(name)

    with monkeypatch.context() as patched:
        patched.setattr(bars_repository, "pause_point", dies)
        with pytest.raises(ZeroDivisionError, match=r"bars\.before_commit"):
            await store.rebase(T, bars(30, 41, factor=0.25), NOTHING, source="venue")
    assert is_same(await all_of(store), bars(0, 40))
    await store.rebase(T, bars(30, 41, factor=0.25), NOTHING, source="venue")
    assert is_same(await all_of(store), bars(0, 41, factor=0.25))


class Forgetful(ScriptedProvider):
    """A provider that gives what is closed, and of that the newest twenty bars alone."""

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        found = await super().closed_bars(series, until, 10**9, since)
        return found.closed_at(until, series.timeframe).last(min(count, 20))


async def test_late_bars_and_a_split_leave_memory_and_database_alike(store: PostgresBarStore) -> None:
    provider = Forgetful("venue")

    def process() -> DataManager:
        lanes = Chains([ProviderLane(provider)])
        return DataManager(lanes, store, DueBars(OneCalendar()), patience=timedelta(seconds=30))

    async def look(data: DataManager, hour: int, published: Bars) -> Bars:
        provider.bars[T] = published
        return await data.closed_bars("T", Timeframe.H1, opens(hour), 30)

    await store.store(T, bars(0, 30))
    first, second = process(), process()
    assert is_same(await look(first, 40, bars(20, 40, 38)), bars(9, 40, 38))
    await look(second, 40, bars(20, 40, 38))
    assert is_same(await look(first, 41, bars(20, 41)), bars(11, 41))
    halved = bars(20, 42, factor=0.5)
    for data in (first, second, process()):
        assert is_same(await look(data, 42, halved), bars(12, 42, factor=0.5))
        assert is_same(await all_of(store), bars(0, 42, factor=0.5))
    for data in (first, second):
        await data.close()
