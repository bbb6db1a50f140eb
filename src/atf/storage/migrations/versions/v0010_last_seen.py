"""What an alert saw on the bar that it judged last, so that it can be explained when the bars have changed."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE alert_states ADD COLUMN last_seen BYTEA")


def downgrade() -> None:
    op.execute("ALTER TABLE alert_states DROP COLUMN last_seen")
