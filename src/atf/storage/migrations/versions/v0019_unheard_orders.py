"""What a bot's strategy has not heard yet when its state is stored: names of ended orders, with their revisions."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE trading_bot_states ADD COLUMN unheard JSONB DEFAULT '{}' NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE trading_bot_states DROP COLUMN unheard")
