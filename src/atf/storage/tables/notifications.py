"""The outbox: messages, one delivery a channel, and the inbox that people read on the machine itself.

Quiet hours lie here as they are about messages; a held delivery is PENDING with ``held_until``.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Time,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from atf.storage.tables.metadata import instant, metadata, one_of

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
    one_of("priority", ("normal", "high", "urgent")),
    Index(None, "user_id", "id"),
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
    one_of("status", ("PENDING", "SENDING", "SENT", "FAILED", "DEAD")),
    Index("msg_deliveries_pending_idx", "next_attempt_at", "id", postgresql_where=text("status = 'PENDING'")),
    Index("msg_deliveries_sending_idx", "sender_id", postgresql_where=text("status = 'SENDING'")),
    Index("msg_deliveries_held_idx", "message_id", postgresql_where=text("held_until IS NOT NULL")),
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
