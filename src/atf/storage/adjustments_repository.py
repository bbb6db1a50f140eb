"""The adjustment factors of stocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from sqlalchemy import text

from atf.market.adjustment import AdjustmentFactor
from atf.storage.database import Database

_LOAD: Final = text(
    "SELECT until_date, price_factor, split_factor FROM market_adjustments WHERE symbol = :symbol "
    "ORDER BY until_date"
)
_DELETE: Final = text("DELETE FROM market_adjustments WHERE symbol = :symbol")
# Two replacements of one symbol at once would each keep the other's rows.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('market_adjustments ' || :symbol, 0))")
_INSERT: Final = text(
    "INSERT INTO market_adjustments (symbol, until_date, price_factor, split_factor, source) "
    "VALUES (:symbol, :until_date, :price_factor, :split_factor, :source)"
)


class PostgresAdjustments:
    """Adjustment factors by symbol: all of a symbol are replaced together, as they are products of each other."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, symbol: str) -> tuple[AdjustmentFactor, ...]:
        """Return the factors of a symbol, oldest first; none if nothing is known of it."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_LOAD, {"symbol": symbol})).all()
        return tuple(AdjustmentFactor(*row) for row in rows)

    async def replace(self, symbol: str, factors: Sequence[AdjustmentFactor], *, source: str) -> None:
        """Store the factors of a symbol in place of all that are stored; none deletes them."""
        rows = [{"symbol": symbol, "source": source, **asdict(factor)} for factor in factors]
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, {"symbol": symbol})
            await connection.execute(_DELETE, {"symbol": symbol})
            if rows:
                await connection.execute(_INSERT, rows)
