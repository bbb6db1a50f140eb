"""What the Telegram bot remembers: updates, conversations, strangers that were answered, who wants to register."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE telegram_updates (
  update_id BIGINT NOT NULL,
  telegram_id BIGINT NOT NULL,
  chat_id BIGINT NOT NULL,
  language TEXT NOT NULL,
  words TEXT NOT NULL,
  begun_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  ended_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT telegram_updates_pkey PRIMARY KEY (update_id)
);

CREATE INDEX telegram_updates_open_idx ON telegram_updates (update_id) WHERE ended_at IS NULL;

CREATE INDEX telegram_updates_begun_at_idx ON telegram_updates (begun_at);

CREATE TABLE telegram_conversations (
  telegram_id BIGINT NOT NULL,
  chat_id BIGINT NOT NULL,
  kind TEXT NOT NULL,
  nonce TEXT,
  command TEXT NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT telegram_conversations_pkey PRIMARY KEY (telegram_id, chat_id, kind),
  CONSTRAINT telegram_conversations_kind_check CHECK (kind IN ('question', 'expectation'))
);

CREATE TABLE telegram_strangers (
  telegram_id BIGINT NOT NULL,
  greeted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT telegram_strangers_pkey PRIMARY KEY (telegram_id)
);

CREATE TABLE telegram_registrations (
  telegram_id BIGINT NOT NULL,
  user_id INTEGER NOT NULL,
  email TEXT NOT NULL,
  language TEXT NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT telegram_registrations_pkey PRIMARY KEY (telegram_id),
  CONSTRAINT telegram_registrations_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id)
)
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    for table in (
        "telegram_registrations",
        "telegram_strangers",
        "telegram_conversations",
        "telegram_updates",
    ):
        op.execute(f"DROP TABLE {table}")
