"""Whether the Telegram bot is in maintenance, and what it tells everybody meanwhile."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE telegram_maintenance (
          is_on BOOLEAN DEFAULT true NOT NULL,
          text TEXT NOT NULL,
          begun_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
          CONSTRAINT telegram_maintenance_pkey PRIMARY KEY (is_on),
          CONSTRAINT telegram_maintenance_is_on_check CHECK (is_on)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE telegram_maintenance")
