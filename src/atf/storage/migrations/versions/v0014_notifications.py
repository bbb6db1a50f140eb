"""Senders of channels, order among deliveries, attachments, and what users wish of their messages."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE msg_messages ADD COLUMN scheduled_for TIMESTAMP WITH TIME ZONE;

CREATE INDEX msg_messages_created_at_idx ON msg_messages (created_at);

CREATE TABLE msg_attachments (
  message_id BIGINT NOT NULL,
  position SMALLINT NOT NULL,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  content BYTEA NOT NULL,
  CONSTRAINT msg_attachments_pkey PRIMARY KEY (message_id, position),
  CONSTRAINT msg_attachments_message_id_fkey FOREIGN KEY(message_id) REFERENCES msg_messages (id) ON DELETE CASCADE
);

ALTER TABLE msg_deliveries ADD COLUMN user_id INTEGER;

ALTER TABLE msg_deliveries ADD COLUMN urgency SMALLINT;

ALTER TABLE msg_deliveries ADD COLUMN lane TEXT DEFAULT '' NOT NULL;

ALTER TABLE msg_deliveries ADD COLUMN waits BOOLEAN DEFAULT false NOT NULL;

ALTER TABLE msg_deliveries ADD COLUMN settled_at TIMESTAMP WITH TIME ZONE;

UPDATE msg_deliveries d
SET user_id = m.user_id,
    urgency = CASE m.priority WHEN 'urgent' THEN 0 WHEN 'high' THEN 1 ELSE 2 END,
    attempts = CASE d.status WHEN 'SENDING' THEN d.attempts - 1 ELSE d.attempts END,
    settled_at = CASE WHEN d.status IN ('SENT', 'FAILED', 'DEAD') THEN COALESCE(d.sent_at, d.created_at) END
FROM msg_messages m WHERE m.id = d.message_id;

ALTER TABLE msg_deliveries ALTER COLUMN user_id SET NOT NULL;

ALTER TABLE msg_deliveries ALTER COLUMN urgency SET NOT NULL;

ALTER TABLE msg_deliveries ADD CONSTRAINT msg_deliveries_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id);

ALTER TABLE msg_deliveries ADD CONSTRAINT msg_deliveries_urgency_check CHECK (urgency BETWEEN 0 AND 2);

DROP INDEX msg_deliveries_pending_idx;

CREATE INDEX msg_deliveries_pending_idx ON msg_deliveries (channel, urgency, next_attempt_at, id) WHERE status = 'PENDING';

CREATE INDEX msg_deliveries_waiting_idx ON msg_deliveries (channel, user_id, urgency, lane, id) WHERE waits;

DROP INDEX msg_deliveries_held_idx;

CREATE INDEX msg_deliveries_held_idx ON msg_deliveries (user_id) WHERE held_until IS NOT NULL;

CREATE INDEX msg_deliveries_settled_at_idx ON msg_deliveries (settled_at);

CREATE TABLE msg_channels (
  channel TEXT NOT NULL,
  sender_id TEXT,
  taken_at TIMESTAMP WITH TIME ZONE,
  failures INTEGER DEFAULT '0' NOT NULL,
  paused_until TIMESTAMP WITH TIME ZONE,
  error TEXT,
  CONSTRAINT msg_channels_pkey PRIMARY KEY (channel)
);

CREATE TABLE msg_preferences (
  user_id INTEGER NOT NULL,
  language TEXT,
  timezone TEXT DEFAULT 'UTC' NOT NULL,
  digest_minutes INTEGER,
  fallback TEXT,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT msg_preferences_pkey PRIMARY KEY (user_id),
  CONSTRAINT msg_preferences_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id),
  CONSTRAINT msg_preferences_digest_minutes_check CHECK (digest_minutes BETWEEN 5 AND 1440)
);

CREATE TABLE msg_routes (
  user_id INTEGER NOT NULL,
  notification_type TEXT NOT NULL,
  channel TEXT NOT NULL,
  is_on BOOLEAN NOT NULL,
  CONSTRAINT msg_routes_pkey PRIMARY KEY (user_id, notification_type, channel),
  CONSTRAINT msg_routes_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TABLE msg_addresses (
  user_id INTEGER NOT NULL,
  channel TEXT NOT NULL,
  address TEXT NOT NULL,
  CONSTRAINT msg_addresses_pkey PRIMARY KEY (user_id, channel),
  CONSTRAINT msg_addresses_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TABLE msg_unreachable (
  user_id INTEGER NOT NULL,
  channel TEXT NOT NULL,
  since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  reason TEXT NOT NULL,
  CONSTRAINT msg_unreachable_pkey PRIMARY KEY (user_id, channel),
  CONSTRAINT msg_unreachable_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE TRIGGER msg_preferences_audit AFTER INSERT OR UPDATE OR DELETE ON msg_preferences FOR EACH ROW EXECUTE FUNCTION audit_change('preferences', '{updated_at}', '{}');

CREATE TRIGGER msg_routes_audit AFTER INSERT OR UPDATE OR DELETE ON msg_routes FOR EACH ROW EXECUTE FUNCTION audit_change('route', '{}', '{}');

CREATE TRIGGER msg_addresses_audit AFTER INSERT OR UPDATE OR DELETE ON msg_addresses FOR EACH ROW EXECUTE FUNCTION audit_change('address', '{}', '{}')
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    for table in (
        "msg_unreachable",
        "msg_addresses",
        "msg_routes",
        "msg_preferences",
        "msg_channels",
        "msg_attachments",
    ):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX msg_messages_created_at_idx")
    op.execute("ALTER TABLE msg_messages DROP COLUMN scheduled_for")
    for column in ("user_id", "urgency", "lane", "waits", "settled_at"):
        op.execute(f"ALTER TABLE msg_deliveries DROP COLUMN {column}")  # and the indexes and checks on it
    op.execute("CREATE INDEX msg_deliveries_held_idx ON msg_deliveries (message_id) WHERE held_until IS NOT NULL")
    op.execute(
        "CREATE INDEX msg_deliveries_pending_idx ON msg_deliveries (next_attempt_at, id) WHERE status = 'PENDING'"
    )
