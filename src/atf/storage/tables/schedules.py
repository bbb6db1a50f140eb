"""Schedules, the groups that fire them, and the timer's own table."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from atf.storage.tables.metadata import instant, metadata, one_of

# Schedules that fire at the same instants share a row, so that a tick advances one row instead of thousands.
schedule_groups = Table(
    "schedule_groups",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("calendar", Text),
    instant("next_fire_at", nullable=True),
    UniqueConstraint("cron", "timezone", "calendar", postgresql_nulls_not_distinct=True),
    Index(None, "next_fire_at", postgresql_where=text("next_fire_at IS NOT NULL")),
)

# No index on next_run_at and a fillfactor of 70: a tick then updates rows in place (HOT).
job_schedules = Table(
    "job_schedules",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("job_type", String(50), nullable=False),
    Column("target", String(255), nullable=False),
    Column("task_params", JSONB, nullable=False, server_default=text("'{}'")),
    Column("cron", String(100), nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    instant("next_run_at", nullable=True),
    instant("created_at", default_now=True),
    instant("updated_at", default_now=True),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("misfire_grace_seconds", Integer, nullable=False, server_default="30"),
    Column("coalesce", Boolean, nullable=False, server_default=false()),
    Column("max_instances", Integer, nullable=False, server_default="3"),
    Column("misfire_policy", Text, nullable=False, server_default="run_once"),
    Column("calendar", Text),
    instant("effective_from"),
    Column("version", Integer, nullable=False, server_default="1"),
    instant("deleted_at", nullable=True),
    Column("group_id", Integer, ForeignKey("schedule_groups.id"), nullable=False),
    Column("max_runtime_seconds", Double),  # these three: NULL means what the job type says
    Column("max_attempts", Integer),
    Column("retry_delay_seconds", Double),
    one_of("misfire_policy", ("skip", "run_once", "run_all")),
    Index(None, "group_id", "id"),
    Index(None, "user_id", "name"),
    postgresql_with={"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.05"},
)

# What did not run when it was due: one row for each schedule and gap, never one for each missed minute.
job_misfires = Table(
    "job_misfires",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("schedule_id", Integer, ForeignKey("job_schedules.id"), nullable=False),
    Column("count", BigInteger, nullable=False),
    instant("first_at"),
    instant("last_at"),
    Column("reason", Text, nullable=False),
    instant("noticed_at", default_now=True),
    one_of("reason", ("late", "coalesced", "capped")),
    UniqueConstraint("schedule_id", "first_at"),
    Index(None, "noticed_at"),
)

# APScheduler's job store as its own SQLAlchemyJobStore defines it.
apscheduler_jobs = Table(
    "apscheduler_jobs",
    metadata,
    Column("id", String(191), primary_key=True),
    Column("next_run_time", Float(25), index=True),
    Column("job_state", LargeBinary, nullable=False),
)
