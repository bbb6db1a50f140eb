"""Market data: bars put aside with the reason, adjustment factors, owned universes, fundamentals; steps of a run."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE market_bars_quarantine (
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  open_time TIMESTAMP WITH TIME ZONE NOT NULL,
  open DOUBLE PRECISION,
  high DOUBLE PRECISION,
  low DOUBLE PRECISION,
  close DOUBLE PRECISION,
  volume DOUBLE PRECISION,
  reason TEXT NOT NULL,
  source TEXT NOT NULL,
  found_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT market_bars_quarantine_pkey PRIMARY KEY (symbol, timeframe, open_time, reason)
);

CREATE TABLE market_adjustments (
  symbol TEXT NOT NULL,
  until_date DATE NOT NULL,
  price_factor DOUBLE PRECISION NOT NULL,
  split_factor DOUBLE PRECISION NOT NULL,
  source TEXT NOT NULL,
  loaded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT market_adjustments_pkey PRIMARY KEY (symbol, until_date),
  CONSTRAINT market_adjustments_positive_check CHECK (price_factor > 0 AND split_factor > 0)
);

ALTER TABLE market_universes
  ADD COLUMN user_id BIGINT DEFAULT '0' NOT NULL,
  ADD COLUMN source TEXT DEFAULT '' NOT NULL,
  ADD COLUMN loaded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  DROP CONSTRAINT market_universes_pkey,
  ADD CONSTRAINT market_universes_pkey PRIMARY KEY (user_id, name, symbol, valid_from);

CREATE TABLE market_fundamentals (
  symbol TEXT NOT NULL,
  as_of DATE NOT NULL,
  name TEXT,
  sector TEXT,
  industry TEXT,
  currency TEXT,
  market_cap DOUBLE PRECISION,
  pe DOUBLE PRECISION,
  eps DOUBLE PRECISION,
  dividend_yield DOUBLE PRECISION,
  average_volume DOUBLE PRECISION,
  source TEXT NOT NULL,
  loaded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT market_fundamentals_pkey PRIMARY KEY (symbol, as_of)
);

CREATE TABLE job_run_steps (
  run_id UUID NOT NULL,
  step TEXT NOT NULL,
  position INTEGER NOT NULL,
  outcome JSONB,
  finished_at TIMESTAMP WITH TIME ZONE,
  begun_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT job_run_steps_pkey PRIMARY KEY (run_id, step)
);

ALTER TABLE market_clock
  ADD COLUMN speed DOUBLE PRECISION
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n\n"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE market_clock DROP COLUMN speed")
    op.execute("DROP TABLE job_run_steps, market_fundamentals, market_adjustments, market_bars_quarantine")
    op.execute("DELETE FROM market_universes WHERE user_id <> 0")
    op.execute(
        "ALTER TABLE market_universes DROP CONSTRAINT market_universes_pkey, DROP COLUMN user_id, "
        "DROP COLUMN source, DROP COLUMN loaded_at, "
        "ADD CONSTRAINT market_universes_pkey PRIMARY KEY (name, symbol, valid_from)"
    )
