"""What is stored of market data: ranges of bars, spans, what was put aside, adjustment factors."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from atf.errors import InvariantViolation
from atf.market.adjustment import AdjustmentFactor
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.stored_series import StoredSpan
from atf.storage.adjustments_repository import PostgresAdjustments
from atf.storage.bar_arrays import bars_of
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.columns import elements
from atf.storage.database import Database
from atf.storage.stored_series_repository import PostgresStoredSeries

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

FIRST = datetime(2024, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
DAILY = Series("AAPL", Timeframe.D1)


def some_bars(count: int) -> Bars:
    return Bars.from_rows([(FIRST + n * DAY, 1.0, 2.0, 0.5, 100.0 + n, 1e9) for n in range(count)])


@pytest.fixture
def store(database: Database) -> PostgresBarStore:
    return PostgresBarStore(database)


async def test_a_range_has_its_beginning_and_not_its_end(store: PostgresBarStore) -> None:
    await store.store(DAILY, some_bars(6))
    found = await store.between(DAILY, FIRST + DAY, FIRST + 4 * DAY)
    assert found.close.tolist() == [101.0, 102.0, 103.0]
    assert (await store.between(DAILY, since=FIRST + 4 * DAY)).close.tolist() == [104.0, 105.0]
    assert len(await store.between(DAILY)) == 6
    assert len(await store.between(Series("AAPL", Timeframe.H1))) == 0
    assert len(await store.between(DAILY, FIRST + 99 * DAY)) == 0


async def test_a_range_comes_back_to_the_last_digit_with_missing_values(store: PostgresBarStore) -> None:
    odd = datetime(1965, 3, 4, 13, 37, 11, 123_457, tzinfo=UTC)
    rows = [(odd, 0.1, 1e-300, 1.7976931348623157e308, math.nan, 5e-324), (FIRST, math.nan, 1, 2, 3, 4)]
    bars = Bars.from_rows(rows)
    await store.store(DAILY, bars)
    found = await store.between(DAILY)
    assert np.array_equal(found.open_time, bars.open_time)
    for name in COLUMNS:
        assert np.array_equal(found.column(name), bars.column(name), equal_nan=True)
        assert not found.column(name).flags.writeable


async def test_an_infinite_value_that_somebody_wrote_is_a_missing_one(
    store: PostgresBarStore, rows: Rows
) -> None:
    await rows.change("INSERT INTO market_bars VALUES ('AAPL', '1d', '2024-01-02Z', 1, 'inf', '-inf', 1, NULL)")
    found = await store.between(DAILY)
    assert np.isnan([found.high[0], found.low[0], found.volume[0]]).all()


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(InvariantViolation, match="an array of another shape"):
        elements(b"\0" * 19 + b"\1" + b"\0" * 5, "f8")
    assert len(bars_of([None] * 6)) == 0


async def test_spans_tell_how_much_is_stored_of_each_series(store: PostgresBarStore, database: Database) -> None:
    assert await PostgresStoredSeries(database).spans() == []
    await store.store(DAILY, some_bars(3))
    await store.store(Series("AAPL", Timeframe.H4), some_bars(1))
    await store.store(Series("A", Timeframe.D1), some_bars(2))
    assert await PostgresStoredSeries(database).spans() == [
        StoredSpan(Series("A", Timeframe.D1), 2, FIRST, FIRST + DAY),
        StoredSpan(Series("AAPL", Timeframe.H4), 1, FIRST, FIRST),
        StoredSpan(DAILY, 3, FIRST, FIRST + 2 * DAY),
    ]


async def test_bars_that_were_put_aside_are_told_with_the_reason(database: Database, rows: Rows) -> None:
    await rows.change(
        "INSERT INTO market_bars_quarantine (symbol, timeframe, open_time, close, reason, source) VALUES "
        "('AAPL', '1d', '2024-01-03Z', -1, 'negative', 'files'), "
        "('AAPL', '1d', '2024-01-02Z', NULL, 'none', 'x'), "
        "('AAPL', '1h', '2024-01-02Z', NULL, 'none', 'x')"
    )
    found = await PostgresStoredSeries(database).quarantined(DAILY)
    assert [(bar.open_time, bar.close, bar.reason, bar.source) for bar in found] == [
        (FIRST, None, "none", "x"),
        (FIRST + DAY, -1.0, "negative", "files"),
    ]


async def test_the_factors_of_a_symbol_are_replaced_together(database: Database) -> None:
    adjustments = PostgresAdjustments(database)
    old = [AdjustmentFactor(date(2020, 8, 28), 0.98, 0.25), AdjustmentFactor(date(2014, 6, 6), 0.9, 1 / 28)]
    new = [AdjustmentFactor(date(2024, 1, 2), 0.5, 1.0)]
    await adjustments.replace("AAPL", old, source="file")
    await adjustments.replace("IBM", old, source="file")
    assert await adjustments.load("AAPL") == tuple(sorted(old))
    await adjustments.replace("AAPL", new, source="file")
    assert await adjustments.load("AAPL") == tuple(new)
    await adjustments.replace("AAPL", [], source="file")
    assert await adjustments.load("AAPL") == ()
    assert len(await adjustments.load("IBM")) == 2


async def test_two_who_replace_factors_at_once_leave_those_of_one(database: Database) -> None:
    adjustments = PostgresAdjustments(database)
    sets = [[AdjustmentFactor(date(2020, 1, day + n), 0.5, 1.0) for day in range(1, 9)] for n in range(4)]
    await asyncio.gather(*(adjustments.replace("AAPL", factors, source="test") for factors in sets))
    assert list(await adjustments.load("AAPL")) in sets
