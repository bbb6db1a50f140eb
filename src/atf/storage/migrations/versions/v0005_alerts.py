"""Alerts: until when bars are history, muting; why triggers fired, and who has seen them."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE alert_states
  ADD COLUMN history_until TIMESTAMP WITH TIME ZONE,
  ADD COLUMN muted_until TIMESTAMP WITH TIME ZONE;

UPDATE alert_states a SET history_until = s.created_at FROM job_schedules s WHERE s.id = a.schedule_id;

ALTER TABLE alert_states ALTER COLUMN history_until SET NOT NULL;

ALTER TABLE alert_triggers
  ADD COLUMN explanation JSONB,
  ADD COLUMN is_muted BOOLEAN DEFAULT false NOT NULL,
  ADD COLUMN acknowledged_at TIMESTAMP WITH TIME ZONE;

CREATE OR REPLACE VIEW alert_state_json AS
SELECT schedule_id,
       jsonb_build_object(
         'gate', gate, 'count', count, 'cooldown_until', cooldown_until, 'last_bar', last_bar,
         'last_trigger_bar', last_trigger_bar, 'trigger_count', trigger_count, 'sides', sides,
         'status', status, 'data_status', data_status, 'rule_hash', rule_hash, 'history_until', history_until,
         'muted_until', muted_until, 'version', version, 'updated_at', updated_at) AS state_json
FROM alert_states;
"""

OLD_VIEW = """
CREATE VIEW alert_state_json AS
SELECT schedule_id,
       jsonb_build_object(
         'gate', gate, 'count', count, 'cooldown_until', cooldown_until, 'last_bar', last_bar,
         'last_trigger_bar', last_trigger_bar, 'trigger_count', trigger_count, 'sides', sides,
         'status', status, 'data_status', data_status, 'rule_hash', rule_hash, 'version', version,
         'updated_at', updated_at) AS state_json
FROM alert_states
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP VIEW alert_state_json")
    op.execute("ALTER TABLE alert_states DROP COLUMN history_until, DROP COLUMN muted_until")
    op.execute(
        "ALTER TABLE alert_triggers DROP COLUMN explanation, DROP COLUMN is_muted, DROP COLUMN acknowledged_at"
    )
    op.execute(OLD_VIEW)
