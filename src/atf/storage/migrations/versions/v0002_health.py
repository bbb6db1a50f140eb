"""Health: who runs where, how each says it is; and an index of what failed, so that counting it reads no history."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE service_registry (
  instance_id TEXT NOT NULL,
  service TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  version TEXT NOT NULL,
  endpoints JSONB DEFAULT '{}' NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  last_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT service_registry_pkey PRIMARY KEY (instance_id)
)
 WITH (fillfactor = 70);

CREATE TABLE msg_system_health (
  system TEXT NOT NULL,
  component TEXT DEFAULT '' NOT NULL,
  status TEXT NOT NULL,
  last_heartbeat TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  response_time_ms INTEGER,
  error_message TEXT,
  metadata JSONB DEFAULT '{}' NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT msg_system_health_pkey PRIMARY KEY (system, component),
  CONSTRAINT msg_system_health_status_check CHECK (status IN ('HEALTHY', 'DEGRADED', 'DOWN', 'UNKNOWN'))
)
 WITH (fillfactor = 70);

CREATE INDEX job_schedule_runs_failed_idx ON job_schedule_runs (finished_at) WHERE status = 'FAILED'
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX job_schedule_runs_failed_idx")
    op.execute("DROP TABLE msg_system_health, service_registry")
