"""What the Telegram bot remembers: updates, conversations, strangers, applications, and whether it is closed."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    text,
    true,
)

from atf.storage.tables.metadata import instant, metadata, one_of

# One that was begun and not ended was cut off by a kill; its words are forgotten when it has ended.
telegram_updates = Table(
    "telegram_updates",
    metadata,
    Column("update_id", BigInteger, primary_key=True, autoincrement=False),
    Column("telegram_id", BigInteger, nullable=False),
    Column("chat_id", BigInteger, nullable=False),
    Column("language", Text, nullable=False),
    Column("words", Text, nullable=False),
    instant("begun_at", default_now=True),
    instant("ended_at", nullable=True),
    Index("telegram_updates_open_idx", "update_id", postgresql_where=text("ended_at IS NULL")),
    Index(None, "begun_at"),
)

# What the bot waits to hear: the answer to a question, or the words of a command.
telegram_conversations = Table(
    "telegram_conversations",
    metadata,
    Column("telegram_id", BigInteger, primary_key=True, autoincrement=False),
    Column("chat_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("nonce", Text),
    Column("command", Text, nullable=False),
    instant("expires_at"),
    one_of("kind", ("question", "expectation")),
)

telegram_strangers = Table(
    "telegram_strangers",
    metadata,
    Column("telegram_id", BigInteger, primary_key=True, autoincrement=False),
    instant("greeted_at", default_now=True),
)

telegram_registrations = Table(
    "telegram_registrations",
    metadata,
    Column("telegram_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("email", Text, nullable=False),
    Column("language", Text, nullable=False),
    instant("created_at", default_now=True),
)

# Its one row is there while maintenance is on.
telegram_maintenance = Table(
    "telegram_maintenance",
    metadata,
    Column("is_on", Boolean, primary_key=True, server_default=true()),
    Column("text", Text, nullable=False),
    instant("begun_at", default_now=True),
    CheckConstraint("is_on", name="is_on"),
)
