"""Who owns things."""

from sqlalchemy import Boolean, Column, Identity, Integer, Table, Text, true

from atf.storage.tables.metadata import instant, metadata, one_of

users = Table(
    "users",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    instant("created_at", default_now=True),
    one_of("role", ("admin", "trader", "viewer")),
)
