"""The outbox: messages, one delivery a channel, and the inbox that people read on the machine itself.

What users wish of their messages lies here, too. A delivery that quiet hours or a digest hold is PENDING with
``held_until``; one that was tried and is tried again is PENDING and ``waits``, and what is behind it in its lane
waits for it.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Time,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from atf.storage.tables.metadata import instant, metadata, one_of
from atf.storage.tables.security import audited

msg_messages = Table(
    "msg_messages",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column(
        "message_id",
        UUID(as_uuid=True),
        nullable=False,
        unique=True,
        server_default=func.gen_random_uuid(),
    ),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("notification_type", Text, nullable=False),
    Column("priority", Text, nullable=False, server_default="normal"),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("payload", JSONB, nullable=False, server_default=text("'{}'")),
    Column("dedup_key", Text, nullable=False, unique=True),
    instant("created_at", default_now=True),
    instant("scheduled_for", nullable=True),
    one_of("priority", ("normal", "high", "urgent")),
    Index(None, "user_id", "id"),
    Index(None, "created_at"),
)

msg_attachments = Table(
    "msg_attachments",
    metadata,
    Column("message_id", BigInteger, ForeignKey("msg_messages.id", ondelete="CASCADE"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

msg_deliveries = Table(
    "msg_deliveries",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("message_id", BigInteger, ForeignKey("msg_messages.id"), nullable=False, index=True),
    Column("channel", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="PENDING"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    instant("next_attempt_at", default_now=True),
    Column("dedup_key", Text, nullable=False, unique=True),
    Column("sender_id", Text),
    Column("provider_message_id", Text),
    Column("error", Text),
    instant("created_at", default_now=True),
    instant("sent_at", nullable=True),
    instant("held_until", nullable=True),
    # Of the message, so that a claim finds the next ones by an index alone. urgency: 0 urgent, 1 high, 2 normal.
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("urgency", SmallInteger, nullable=False),
    Column("lane", Text, nullable=False, server_default=""),
    Column("waits", Boolean, nullable=False, server_default=text("false")),
    instant("settled_at", nullable=True),
    one_of("status", ("PENDING", "SENDING", "SENT", "FAILED", "DEAD")),
    CheckConstraint("urgency BETWEEN 0 AND 2", name="urgency"),
    Index(
        "msg_deliveries_pending_idx",
        *("channel", "urgency", "next_attempt_at", "id"),
        postgresql_where=text("status = 'PENDING'"),
    ),
    Index(
        "msg_deliveries_waiting_idx",
        *("channel", "user_id", "urgency", "lane", "id"),
        postgresql_where=text("waits"),
    ),
    Index(None, "settled_at"),
    Index("msg_deliveries_sending_idx", "sender_id", postgresql_where=text("status = 'SENDING'")),
    Index("msg_deliveries_held_idx", "user_id", postgresql_where=text("held_until IS NOT NULL")),
    postgresql_with={"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.05"},
)

msg_inbox = Table(
    "msg_inbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("message_id", BigInteger, ForeignKey("msg_messages.id"), nullable=False),
    Column("dedup_key", Text, nullable=False, unique=True),
    instant("received_at", default_now=True),
    instant("read_at", nullable=True),
    Index(None, "user_id", "id"),
)

msg_quiet_hours = Table(
    "msg_quiet_hours",
    metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True),
    Column("begins", Time, nullable=False),
    Column("ends", Time, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("days", ARRAY(Text), nullable=False),
    instant("updated_at", default_now=True),
    CheckConstraint("begins <> ends", name="ends"),
    CheckConstraint(
        "cardinality(days) > 0 AND days <@ ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']", name="days"
    ),
)

# Who sends on a channel now, and until when the channel is paused.
msg_channels = Table(
    "msg_channels",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("sender_id", Text),
    instant("taken_at", nullable=True),
    Column("failures", Integer, nullable=False, server_default="0"),
    instant("paused_until", nullable=True),
    Column("error", Text),
)

msg_preferences = Table(
    "msg_preferences",
    metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("language", Text),  # NULL until the user chooses one
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("digest_minutes", Integer),
    Column("fallback", Text),
    instant("updated_at", default_now=True),
    CheckConstraint("digest_minutes BETWEEN 5 AND 1440", name="digest_minutes"),
)

msg_routes = Table(
    "msg_routes",
    metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("notification_type", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("is_on", Boolean, nullable=False),
)

# Addresses that are no identities, such as telephone numbers.
msg_addresses = Table(
    "msg_addresses",
    metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("channel", Text, primary_key=True),
    Column("address", Text, nullable=False),
)

# Who cannot be reached on a channel any more, as where the bot is blocked; until something is taken again.
msg_unreachable = Table(
    "msg_unreachable",
    metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("channel", Text, primary_key=True),
    instant("since", default_now=True),
    Column("reason", Text, nullable=False),
)

for statement in (
    audited("msg_preferences", "preferences", ignored="updated_at"),
    audited("msg_routes", "route"),
    audited("msg_addresses", "address"),
):
    event.listen(metadata, "after_create", DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
