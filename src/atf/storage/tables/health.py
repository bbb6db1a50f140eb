"""Who runs where, and how each says it is."""

from sqlalchemy import Column, Integer, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from atf.health.status import HealthStatus
from atf.storage.tables.metadata import instant, metadata, one_of

# One row a process, refreshed every few seconds; fillfactor 70 keeps the refreshes in place (HOT).
service_registry = Table(
    "service_registry",
    metadata,
    Column("instance_id", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("endpoints", JSONB, nullable=False, server_default=text("'{}'")),
    instant("started_at", default_now=True),
    instant("last_seen_at", default_now=True),
    postgresql_with={"fillfactor": "70"},
)

# A component is one process of the system, as several workers may run; '' is the system as a whole.
msg_system_health = Table(
    "msg_system_health",
    metadata,
    Column("system", Text, nullable=False),
    Column("component", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False),
    instant("last_heartbeat", default_now=True),
    Column("response_time_ms", Integer),
    Column("error_message", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    instant("updated_at", default_now=True),
    PrimaryKeyConstraint("system", "component"),
    one_of("status", HealthStatus),
    postgresql_with={"fillfactor": "70"},
)
