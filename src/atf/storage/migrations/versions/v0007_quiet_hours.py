"""Quiet hours of users, and until when they hold a delivery."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE msg_quiet_hours (
  user_id INTEGER NOT NULL,
  begins TIME WITHOUT TIME ZONE NOT NULL,
  ends TIME WITHOUT TIME ZONE NOT NULL,
  timezone TEXT NOT NULL,
  days TEXT[] NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT msg_quiet_hours_pkey PRIMARY KEY (user_id),
  CONSTRAINT msg_quiet_hours_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id),
  CONSTRAINT msg_quiet_hours_ends_check CHECK (begins <> ends),
  CONSTRAINT msg_quiet_hours_days_check CHECK (cardinality(days) > 0 AND days <@ ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])
);

ALTER TABLE msg_deliveries ADD COLUMN held_until TIMESTAMP WITH TIME ZONE;

CREATE INDEX msg_deliveries_held_idx ON msg_deliveries (message_id) WHERE held_until IS NOT NULL
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    # What is held goes out at once: nothing would know any more until when it is to wait.
    op.execute("UPDATE msg_deliveries SET next_attempt_at = created_at WHERE held_until IS NOT NULL")
    op.execute("ALTER TABLE msg_deliveries DROP COLUMN held_until")
    op.execute("DROP TABLE msg_quiet_hours")
