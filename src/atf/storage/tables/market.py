"""Bars, what was put aside of them, adjustments, universes, fundamentals, and the market clock of a replay."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from atf.storage.tables.metadata import instant, metadata


def _series() -> list[Column[Any]]:
    """The columns that say which bar it is."""
    return [
        Column("symbol", Text, nullable=False),
        Column("timeframe", Text, nullable=False),
        instant("open_time"),
    ]


def _values() -> list[Column[Any]]:
    return [Column(name, Double) for name in ("open", "high", "low", "close", "volume")]


market_bars = Table(
    "market_bars",
    metadata,
    *_series(),
    *_values(),
    PrimaryKeyConstraint("symbol", "timeframe", "open_time"),
)

# Bars that no market can have made, as they came; nothing ever computes with them.
market_bars_quarantine = Table(
    "market_bars_quarantine",
    metadata,
    *_series(),
    *_values(),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False),
    instant("found_at", default_now=True),
    PrimaryKeyConstraint("symbol", "timeframe", "open_time", "reason"),
)

# A row holds for bars up to and including its date: adjusted = raw * price_factor * split_factor.
market_adjustments = Table(
    "market_adjustments",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("until_date", Date, nullable=False),
    Column("price_factor", Double, nullable=False),
    Column("split_factor", Double, nullable=False),
    Column("source", Text, nullable=False),
    instant("loaded_at", default_now=True),
    PrimaryKeyConstraint("symbol", "until_date"),
    CheckConstraint("price_factor > 0 AND split_factor > 0", name="positive"),
)

# A symbol belongs to a universe from the first day on and up to the day before the second; user 0 is everybody.
market_universes = Table(
    "market_universes",
    metadata,
    Column("name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),
    Column("user_id", BigInteger, nullable=False, server_default="0"),
    Column("source", Text, nullable=False, server_default=""),
    instant("loaded_at", default_now=True),
    PrimaryKeyConstraint("user_id", "name", "symbol", "valid_from"),
)

# Market cap in the currency's units, the yield as a fraction, the volume in shares a day.
market_fundamentals = Table(
    "market_fundamentals",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("as_of", Date, nullable=False),
    *[Column(name, Text) for name in ("name", "sector", "industry", "currency")],
    *[Column(name, Double) for name in ("market_cap", "pe", "eps", "dividend_yield", "average_volume")],
    Column("source", Text, nullable=False),
    instant("loaded_at", default_now=True),
    PrimaryKeyConstraint("symbol", "as_of"),
)

# At most one row. Where it exists, market time is what it says and every process of this database follows it.
# Without a speed it moves in steps; with one it runs so many times as fast as the wall since started_at.
market_clock = Table(
    "market_clock",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default="1"),
    Column("timeframe", Text, nullable=False),
    instant("begins_at"),
    instant("now_at"),
    instant("ends_at"),
    Column("step", BigInteger, nullable=False, server_default="0"),
    instant("started_at", default_now=True),
    instant("updated_at", default_now=True),
    Column("speed", Double),
    CheckConstraint("id = 1", name="single_row"),
)
