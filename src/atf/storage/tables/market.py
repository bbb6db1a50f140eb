"""Bars, universes, and the market clock of a replay."""

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

market_bars = Table(
    "market_bars",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    instant("open_time"),
    Column("open", Double),
    Column("high", Double),
    Column("low", Double),
    Column("close", Double),
    Column("volume", Double),
    PrimaryKeyConstraint("symbol", "timeframe", "open_time"),
)

market_universes = Table(
    "market_universes",
    metadata,
    Column("name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),
    PrimaryKeyConstraint("name", "symbol", "valid_from"),
)

# At most one row. Where it exists, market time is what it says and every process of this database follows it.
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
    CheckConstraint("id = 1", name="single_row"),
)
