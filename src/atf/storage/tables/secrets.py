"""What is sealed, and with which key: nothing here can be opened without the master key, which is elsewhere."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    true,
)

from atf.storage.tables.metadata import instant, metadata

# One row, made with the first seal. Who seals something locks it: a rotation must not miss what comes meanwhile.
master_key = Table(
    "master_key",
    metadata,
    Column("is_only", Boolean, primary_key=True, server_default=true()),
    Column("key_id", Text, nullable=False),
    instant("set_at", default_now=True),
    CheckConstraint("is_only", name="is_only"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id")),  # NULL: the platform's own
    Column("name", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    instant("created_at", default_now=True),
    instant("updated_at", default_now=True),
    UniqueConstraint("user_id", "name", postgresql_nulls_not_distinct=True),
)

# The key of a user's sensitive fields in schedules, runs and results.
document_keys = Table(
    "document_keys",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id")),  # NULL: of jobs that belong to nobody
    Column("key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    instant("created_at", default_now=True),
    UniqueConstraint("user_id", postgresql_nulls_not_distinct=True),
)
