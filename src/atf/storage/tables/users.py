"""Who owns things."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Integer,
    Table,
    Text,
    true,
)

from atf.security.role import Role
from atf.storage.tables.metadata import instant, metadata, one_of

LIMITS: Final = (
    "schedules_limit",
    "alerts_limit",
    "runs_per_day_limit",
    "cpu_seconds_limit",
    "memory_mib_limit",
    "bots_limit",
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    instant("created_at", default_now=True),
    instant("approved_at", nullable=True, default_now=True),  # NULL: not active, and nobody has decided yet
    Column("schedules_limit", Integer),  # these six: NULL means what the settings say
    Column("alerts_limit", Integer),
    Column("runs_per_day_limit", Integer),
    Column("cpu_seconds_limit", Integer),
    Column("memory_mib_limit", Integer),
    Column("bots_limit", Integer),
    one_of("role", Role),
    *(CheckConstraint(f"{name} >= 0", name=name) for name in LIMITS),
    CheckConstraint("approved_at IS NOT NULL OR NOT is_active", name="approved_at"),
)

# How many runs were made a day, by UTC, for users who may have so many only.
user_run_days = Table(
    "user_run_days",
    metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("runs", BigInteger, nullable=False),
)
