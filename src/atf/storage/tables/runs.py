"""The run table, which is the queue, and the workers that hold leases on its rows."""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from atf.storage.tables.metadata import instant, metadata, one_of

RETENTION_CLASSES = ("alert", "other", "replay")

job_schedule_runs = Table(
    "job_schedule_runs",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("run_id", UUID(as_uuid=True), nullable=False, server_default=func.gen_random_uuid()),
    Column("job_type", Text, nullable=False),
    Column("job_id", BigInteger),
    Column("user_id", BigInteger),
    Column("status", Text, nullable=False, server_default="PENDING"),
    instant("scheduled_for"),
    instant("enqueued_at", default_now=True),
    instant("started_at", nullable=True),
    instant("finished_at", nullable=True),
    Column("job_snapshot", JSONB),
    Column("result", JSONB),
    Column("error", Text),
    Column("worker_id", String(255)),
    Column("retention_class", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("max_attempts", Integer, nullable=False, server_default="3"),
    instant("available_at", default_now=True),
    instant("deadline_at", nullable=True),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("error_details", JSONB),
    PrimaryKeyConstraint("retention_class", "scheduled_for", "id"),
    UniqueConstraint(
        "retention_class", "job_type", "job_id", "scheduled_for", name="job_schedule_runs_due_once_key"
    ),
    one_of("status", ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")),
    Index(None, "run_id"),
    Index(
        "job_schedule_runs_pending_idx",
        "priority",
        "available_at",
        "id",
        postgresql_where=text("status = 'PENDING'"),
    ),
    Index("job_schedule_runs_running_idx", "worker_id", postgresql_where=text("status = 'RUNNING'")),
    Index("job_schedule_runs_failed_idx", "finished_at", postgresql_where=text("status = 'FAILED'")),
    postgresql_partition_by="LIST (retention_class)",
)

# The second level is by time, so that a whole day, month or year of history goes with one DROP TABLE.
for retention_class in RETENTION_CLASSES:
    event.listen(
        job_schedule_runs,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TABLE job_schedule_runs_{retention_class} PARTITION OF job_schedule_runs "
            f"FOR VALUES IN ('{retention_class}') PARTITION BY RANGE (scheduled_for)"
        ),
    )

# One row a process that holds leases: renewing it renews all of its runs or deliveries at once.
workers = Table(
    "workers",
    metadata,
    Column("worker_id", String(255), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    instant("lease_expires_at"),
    instant("started_at", default_now=True),
)
