"""What is stored of market data: the series and their spans, and the bars that were put aside."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from atf.market.bars import Series, Timeframe
from atf.market.stored_series import QuarantinedBar, StoredSpan
from atf.storage.database import Database

_SPANS: Final = text(
    """
    SELECT symbol, timeframe, count(*) AS bars, min(open_time) AS first, max(open_time) AS last
    FROM market_bars GROUP BY symbol, timeframe
    """
)
_QUARANTINED: Final = text(
    """
    SELECT open_time, open, high, low, close, volume, reason, source, found_at FROM market_bars_quarantine
    WHERE symbol = :symbol AND timeframe = :timeframe ORDER BY open_time, reason
    """
)


class PostgresStoredSeries:
    """Looks over everything that is stored; reads no more than it says."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spans(self) -> list[StoredSpan]:
        """Return how much is stored of each series, by symbol and length of the bars; every bar is counted."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_SPANS)).all()
        spans = [StoredSpan(Series(row[0], Timeframe(row[1])), *row[2:]) for row in rows]
        return sorted(spans, key=lambda span: (span.series.symbol, span.series.timeframe.length))

    async def quarantined(self, series: Series) -> list[QuarantinedBar]:
        """Return the bars of a series that were put aside, oldest first."""
        values = {"symbol": series.symbol, "timeframe": str(series.timeframe)}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_QUARANTINED, values)).all()
        return [QuarantinedBar(*row) for row in rows]
