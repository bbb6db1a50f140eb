"""What bots are told to do; the trading service takes it from here."""

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from atf.storage.tables.metadata import instant, metadata, one_of

trading_bot_commands = Table(
    "trading_bot_commands",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("dedup_key", Text, nullable=False, unique=True),
    Column("bot_id", Integer, nullable=False),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("command", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("source", Text, nullable=False),
    instant("created_at", default_now=True),
    instant("accepted_at", nullable=True),
    Column("outcome", Text),
    one_of("command", ("start", "stop", "pause", "signal")),
)
