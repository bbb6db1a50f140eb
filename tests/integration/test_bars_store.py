"""The bar store: written by COPY, replaced by bar, read up to what is closed."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from atf.errors import UnstorableData
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

DAILY = Series("AAPL", Timeframe.D1)
FIRST = datetime(2024, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
NEVER_AGAIN = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> PostgresBarStore:
    return PostgresBarStore(database)


def some_bars(count: int, *, close: float = 100.0, first: datetime = FIRST) -> Bars:
    return Bars.from_rows([(first + n * DAY, 1.0, 2.0, 0.5, close + n, 1e9) for n in range(count)])


def same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and all(
        np.array_equal(one.column(name), other.column(name), equal_nan=True) for name in COLUMNS
    )


async def test_bars_come_back_to_the_last_digit(store: PostgresBarStore) -> None:
    odd = FIRST.replace(hour=13, minute=37, second=11, microsecond=123_457)
    bars = Bars.from_rows([(odd, 0.1, 1e-300, 1.7976931348623157e308, 123456789.123456789, 5e-324)])
    await store.store(DAILY, bars)
    assert same(await store.closed_bars(DAILY, NEVER_AGAIN, 10), bars)


async def test_storing_a_bar_again_replaces_it_and_leaves_the_others(store: PostgresBarStore, rows: Rows) -> None:
    await store.store(DAILY, some_bars(5))
    await store.store(DAILY, some_bars(2, close=200.0, first=FIRST + 4 * DAY))
    bars = await store.closed_bars(DAILY, NEVER_AGAIN, 10)
    assert bars.close.tolist() == [100.0, 101.0, 102.0, 103.0, 200.0, 201.0]
    assert await rows.value("SELECT count(*) FROM market_bars") == 6


async def test_no_bars_may_be_stored(store: PostgresBarStore) -> None:
    await store.store(DAILY, Bars.empty())
    assert not await store.knows("AAPL", Timeframe.D1)
    assert len(await store.closed_bars(DAILY, NEVER_AGAIN, 10)) == 0


async def test_a_bar_is_given_from_the_instant_it_closes(store: PostgresBarStore) -> None:
    await store.store(DAILY, some_bars(3))
    closes_at = FIRST + 2 * DAY
    assert len(await store.closed_bars(DAILY, closes_at, 10)) == 2
    assert len(await store.closed_bars(DAILY, closes_at - timedelta(microseconds=1), 10)) == 1
    assert (await store.closed_bars(DAILY, closes_at, 1)).close.tolist() == [101.0]


async def test_a_missing_value_is_null_in_the_database_and_nan_in_bars(
    store: PostgresBarStore, rows: Rows
) -> None:
    bars = Bars.from_rows([(FIRST, 1.0, 2.0, 0.5, math.nan, math.inf), (FIRST + DAY, 1.0, 2.0, 0.5, 3.0, 4.0)])
    await store.store(DAILY, bars)
    assert same(await store.closed_bars(DAILY, NEVER_AGAIN, 10), bars)
    # PostgreSQL puts NaN above all numbers, so that as NaN it would be the highest close of all.
    assert await rows.value("SELECT max(close) FROM market_bars") == 3.0
    assert await rows.value("SELECT count(*) FROM market_bars WHERE close IS NULL AND volume IS NULL") == 1


async def test_series_are_told_apart_by_symbol_and_timeframe(store: PostgresBarStore) -> None:
    weekly = Series("AAPL", Timeframe.W1)
    await store.store(DAILY, some_bars(3))
    await store.store(weekly, some_bars(1, close=7.0))
    assert (await store.closed_bars(weekly, NEVER_AGAIN, 10)).close.tolist() == [7.0]
    assert await store.knows("AAPL", Timeframe.W1)
    assert not await store.knows("AAPL", Timeframe.H1)
    assert not await store.knows("aapl", Timeframe.D1)


async def test_symbols_are_listed_once_in_order(store: PostgresBarStore) -> None:
    assert await store.symbols() == []
    for symbol in ("MSFT", "AAPL", "BTC/USDT"):
        for timeframe in (Timeframe.D1, Timeframe.W1):
            await store.store(Series(symbol, timeframe), some_bars(3))
    assert await store.symbols() == ["AAPL", "BTC/USDT", "MSFT"]


async def test_of_a_refused_import_nothing_is_stored(store: PostgresBarStore, rows: Rows) -> None:
    with pytest.raises(UnstorableData):
        await store.store(Series("NUL\0", Timeframe.D1), some_bars(3))
    assert await rows.value("SELECT count(*) FROM market_bars") == 0
    await store.store(DAILY, some_bars(3))


async def test_two_imports_may_follow_on_one_connection(store: PostgresBarStore) -> None:
    for n in range(3):
        await store.store(DAILY, some_bars(3, close=float(n)))
    assert (await store.closed_bars(DAILY, NEVER_AGAIN, 1)).close.tolist() == [4.0]


async def test_imports_of_the_same_new_range_at_once_both_succeed(store: PostgresBarStore, rows: Rows) -> None:
    for n in range(10):
        series = Series(f"S{n}", Timeframe.D1)
        await asyncio.gather(*(store.store(series, some_bars(500, close=float(close))) for close in (1, 2, 3)))
    assert await rows.value("SELECT count(*) FROM market_bars") == 10 * 500
