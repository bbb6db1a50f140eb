"""Alerts on bars that are still forming: when the bar of a trigger was looked at."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE alert_triggers ADD COLUMN live_at TIMESTAMP WITH TIME ZONE")


def downgrade() -> None:
    op.execute("ALTER TABLE alert_triggers DROP COLUMN live_at")
