"""The run table, which is the queue, and the workers that hold leases on its rows."""

from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
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
    # Where the run stands in the queue, fixed when it is stored; NULL while it waits for its available_at.
    Column("sort_key", DateTime(timezone=True), server_default=func.now()),
    Column("attempts", JSONB),  # what became of the attempts before this one, oldest first
    Column("retry_of", UUID(as_uuid=True)),
    # Numbers first: each write of a run enters both keys, and comparing a text that is the same in all runs of a
    # leaf took a third of the time of claiming and completing.
    PrimaryKeyConstraint("scheduled_for", "id", "retention_class"),
    UniqueConstraint(
        "job_id", "scheduled_for", "job_type", "retention_class", name="job_schedule_runs_due_once_key"
    ),
    one_of("status", ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")),
    Index(None, "run_id"),
    Index(
        "job_schedule_runs_pending_idx",
        "job_type",
        "sort_key",
        "id",
        postgresql_where=text("status = 'PENDING' AND sort_key IS NOT NULL"),
    ),
    Index(
        "job_schedule_runs_waiting_idx",
        "available_at",
        postgresql_where=text("status = 'PENDING' AND sort_key IS NULL"),
    ),
    # What one user has waiting beside schedules: for the quota, and for the place behind the user's own runs.
    Index(
        "job_schedule_runs_adhoc_idx",
        "user_id",
        "job_type",
        postgresql_where=text("status = 'PENDING' AND job_id IS NULL"),
    ),
    Index("job_schedule_runs_running_idx", "worker_id", postgresql_where=text("status = 'RUNNING'")),
    Index("job_schedule_runs_failed_idx", "finished_at", postgresql_where=text("status = 'FAILED'")),
    Index("job_schedule_runs_finished_idx", "finished_at", postgresql_using="brin"),
    postgresql_partition_by="LIST (retention_class)",
)

# Priority and fairness as a shift in time: a step of priority is worth a minute of waiting, so that nothing
# starves, and each further run that a user has stored at the same instant stands 10 ms behind the one before, a
# quarter of an hour at most, so that a crowd of one user's does not keep another's single run waiting.
SORT_KEY: Final = """
CREATE FUNCTION job_sort_key(available_at timestamptz, priority integer, user_position bigint)
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN available_at + priority * interval '1 minute' + LEAST(user_position, 90000) * interval '10 milliseconds'
"""

# The transition table of atf.jobs.run, for everybody who writes, a person with psql included. A run that is taken
# away from its worker forgets it, so that the worker's late result finds nothing to overwrite.
TRANSITION: Final = """
CREATE FUNCTION job_run_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT (OLD.status = 'RUNNING' OR OLD.status = 'PENDING' AND NEW.status IN ('RUNNING', 'CANCELLED')) THEN
    RAISE EXCEPTION 'run % cannot go from % to %', OLD.run_id, OLD.status, NEW.status USING ERRCODE = 'ATF01';
  END IF;
  IF OLD.status = 'RUNNING' AND NEW.status <> 'COMPLETED' THEN
    NEW.worker_id := NULL;
  END IF;
  IF NEW.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN
    NEW.finished_at := COALESCE(NEW.finished_at, now());
  END IF;
  RETURN NEW;
END $$
"""
_TRIGGER: Final = (
    "CREATE TRIGGER job_run_transition BEFORE UPDATE OF status ON job_schedule_runs FOR EACH ROW "
    "WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION job_run_transition()"
)
for when, statement in (("before_create", SORT_KEY), ("before_create", TRANSITION), ("after_create", _TRIGGER)):
    event.listen(job_schedule_runs, when, DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]

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
    Column("name", Text, nullable=False, server_default=""),
    Column("slots", JSONB, nullable=False, server_default=text("'{}'")),  # runs at the same time, by job type
)

# Whose lease ran out while it held it: what is told to administrators and counted; pruned after a while.
workers_lost = Table(
    "workers_lost",
    metadata,
    Column("worker_id", String(255), primary_key=True),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    instant("started_at"),
    instant("lost_at", default_now=True),
    Column("runs", Integer, nullable=False, server_default="0"),  # that were rescued from it
)

# Runs that ended without success for good, each with the errors of all its attempts.
job_dead_letters = Table(
    "job_dead_letters",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("run_id", UUID(as_uuid=True), nullable=False, unique=True),
    Column("job_type", Text, nullable=False),
    Column("job_id", BigInteger),
    Column("user_id", BigInteger),
    instant("scheduled_for"),
    Column("reason", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("error", Text),
    Column("error_details", JSONB),
    Column("attempts", JSONB, nullable=False, server_default=text("'[]'")),
    Column("job_snapshot", JSONB),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False),
    instant("died_at", default_now=True),
    instant("requeued_at", nullable=True),
    Column("requeued_run_id", UUID(as_uuid=True)),
    one_of("reason", ("exhausted", "permanent", "worker_lost")),
    Index(None, "died_at"),
    Index(None, "job_id", "died_at"),
)

# Closed hours, added up from the run table; kept when the runs themselves are dropped. User 0: nobody's.
job_run_statistics = Table(
    "job_run_statistics",
    metadata,
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("job_type", Text, primary_key=True),
    Column("status", Text, primary_key=True),
    Column("runs", BigInteger, nullable=False),
    Column("retried", BigInteger, nullable=False),
    Column("total_seconds", Double, nullable=False),
    Column("max_seconds", Double, nullable=False),
)

# What a long run is made of, such as one symbol each: a run that is taken up again goes on where it was cut off.
job_run_steps = Table(
    "job_run_steps",
    metadata,
    Column("run_id", UUID(as_uuid=True), nullable=False),
    Column("step", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("outcome", JSONB),
    instant("finished_at", nullable=True),
    instant("begun_at", default_now=True),
    PrimaryKeyConstraint("run_id", "step"),
)
