"""Fundamentals in the database: a row a symbol and day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from sqlalchemy import text

from atf.market.fundamentals import FIELDS, NUMBERS, Fundamentals
from atf.storage.audit_repository import record_doing
from atf.storage.database import Database

_COLUMNS: Final = ", ".join(FIELDS)
_TYPES: Final = {"as_of": "date", **dict.fromkeys(NUMBERS, "float8")}
_ARRAYS: Final = ", ".join(f"CAST(:{name} AS {_TYPES.get(name, 'text')}[])" for name in FIELDS)
# Files of one day complete each other: one has the prices of earnings, another one the volumes.
_MERGE: Final = ", ".join(
    f"{name} = coalesce(EXCLUDED.{name}, f.{name})" for name in FIELDS if name not in ("symbol", "as_of")
)
_WRITE: Final = text(
    f"""
    INSERT INTO market_fundamentals AS f ({_COLUMNS}, source)
    SELECT given.*, :source FROM unnest({_ARRAYS}) AS given
    ON CONFLICT (symbol, as_of) DO UPDATE SET {_MERGE}, source = EXCLUDED.source, loaded_at = now()
    """
)
_NEWEST: Final = text(
    f"""
    SELECT found.* FROM unnest(CAST(:symbols AS text[])) AS wanted (name)
    CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM market_fundamentals WHERE symbol = wanted.name AND as_of <= :on
        ORDER BY as_of DESC LIMIT 1) AS found
    """
)
_OF: Final = text(f"SELECT {_COLUMNS} FROM market_fundamentals WHERE symbol = :symbol ORDER BY as_of")


class PostgresFundamentals:
    """The table of fundamentals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, rows: Sequence[Fundamentals], *, source: str) -> int:
        """Store rows, all or none, and return how many.

        Of several rows of one symbol and day the last one counts. What a row does not say stays as it is stored
        of that day.
        """
        # In one order for everybody, or two loads at once would wait for each other.
        last = sorted({(row.symbol, row.as_of): row for row in rows}.items())
        columns = {name: [getattr(row, name) for _, row in last] for name in FIELDS}
        if last:
            async with self._database.transaction() as connection:
                await connection.execute(_WRITE, {**columns, "source": source})
                await record_doing(connection, "fundamentals.load", "fundamentals", source)
        return len(last)

    async def newest(self, symbols: Sequence[str], on: date) -> Mapping[str, Fundamentals]:
        """Return the newest row on or before a day of each symbol that has one."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_NEWEST, {"symbols": list(symbols), "on": on})).all()
        return {row.symbol: Fundamentals(**row._mapping) for row in rows}

    async def of(self, symbol: str) -> Sequence[Fundamentals]:
        """Return all rows of a symbol, oldest first; none if nothing is known of it."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_OF, {"symbol": symbol})).all()
        return [Fundamentals(**row._mapping) for row in rows]
