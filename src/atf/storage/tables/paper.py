"""The paper venue's books: accounts, what they hold, their orders and fills, and which bars were matched."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from atf.storage.tables.metadata import instant, metadata, one_of
from atf.storage.tables.trading import exact
from atf.trading.order import OrderStatus, OrderType, Side

RESTING = "status IN ('accepted', 'partially_filled')"

paper_accounts = Table(
    "paper_accounts",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("venue", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    exact("starting_cash"),
    exact("cash"),
    exact("fee_fraction"),
    exact("slippage_fraction"),
    exact("latency_seconds"),
    exact("partial_fill_fraction", nullable=True),
    Column("allow_short", Boolean, nullable=False),
    exact("quantity_step"),
    exact("price_step"),
    exact("minimum_quantity"),
    exact("minimum_value"),
    instant("created_at", default_now=True),
    instant("updated_at", default_now=True),
    postgresql_with={"fillfactor": "70"},
)

paper_positions = Table(
    "paper_positions",
    metadata,
    Column("account_id", Integer, ForeignKey("paper_accounts.id"), primary_key=True),
    Column("symbol", Text, primary_key=True),
    exact("quantity"),
    postgresql_with={"fillfactor": "70"},
)

paper_orders = Table(
    "paper_orders",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("account_id", Integer, ForeignKey("paper_accounts.id"), nullable=False),
    Column("client_order_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("type", Text, nullable=False),
    exact("quantity"),
    exact("limit_price", nullable=True),
    exact("stop_price", nullable=True),
    exact("trail_amount", nullable=True),
    exact("trail_fraction", nullable=True),
    instant("valid_until", nullable=True),
    Column("oco_group", Text),
    Column("parent", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("is_asleep", Boolean, nullable=False),
    Column("is_triggered", Boolean, nullable=False),
    exact("current_trigger", nullable=True),
    exact("current_limit", nullable=True),
    exact("filled_quantity"),
    Column("fill_count", Integer, nullable=False),
    instant("accepted_at"),
    instant("active_from"),
    instant("changed_at"),
    one_of("side", Side),
    one_of("type", OrderType),
    one_of("status", OrderStatus),
    CheckConstraint("filled_quantity <= quantity", name="filled_quantity"),
    UniqueConstraint("account_id", "client_order_id"),
    Index("paper_orders_resting_idx", "symbol", "account_id", postgresql_where=text(RESTING)),
    Index("paper_orders_account_id_idx", "account_id", postgresql_where=text(RESTING)),
    Index(
        "paper_orders_oco_group_idx", "account_id", "oco_group", postgresql_where=text("oco_group IS NOT NULL")
    ),
    Index("paper_orders_changed_at_idx", "account_id", "changed_at"),
    postgresql_with={"fillfactor": "70"},
)

paper_fills = Table(
    "paper_fills",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("client_order_id", Text, nullable=False),
    Column("venue_fill_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    exact("quantity"),
    exact("price"),
    exact("fee"),
    instant("filled_at"),
    instant("booked_at", default_now=True),
    one_of("side", Side),
    CheckConstraint("quantity > 0", name="quantity"),
    UniqueConstraint("account_id", "venue_fill_id"),
    ForeignKeyConstraint(
        ["account_id", "client_order_id"], ["paper_orders.account_id", "paper_orders.client_order_id"]
    ),
    Index("paper_fills_client_order_id_idx", "account_id", "client_order_id"),
    Index("paper_fills_filled_at_idx", "account_id", "filled_at"),
)

paper_marks = Table(
    "paper_marks",
    metadata,
    Column("venue", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    instant("open_time"),
    instant("closes_at"),
    postgresql_with={"fillfactor": "70"},
)
