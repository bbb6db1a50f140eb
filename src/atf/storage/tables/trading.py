"""Bots, what they hold and what they did. Amounts are exact; the columns of (20,8) follow from them."""

from decimal import Decimal

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Computed,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from atf.storage.tables.metadata import instant, metadata, one_of
from atf.storage.tables.security import audited
from atf.trading.bot import BotStatus, DesiredState, TradingState
from atf.trading.order import OrderStatus, OrderType, Side
from atf.trading.position import Direction

SHOWN = Numeric(20, 8)
"""As the mission has it: for people and their SQL; nothing is computed from it."""


def exact(name: str, *, default: int | None = None, nullable: bool = False) -> Column[Decimal]:
    """A column for an amount, with all its digits."""
    return Column(name, Numeric, nullable=nullable, server_default=None if default is None else str(default))


def bot_id() -> Column[int]:
    """A column for whose it is."""
    return Column("bot_id", Integer, ForeignKey("trading_bots.id"), nullable=False)


trading_installation = Table(
    "trading_installation",
    metadata,
    Column("id", Text, primary_key=True),
    instant("created_at", default_now=True),
)

trading_sessions = Table(
    "trading_sessions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("node_id", Text, nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("boot_id", Text, nullable=False),
    instant("started_at", default_now=True),
    instant("recovered_at", nullable=True),
    instant("ended_cleanly_at", nullable=True),
)

trading_bots = Table(
    "trading_bots",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("desired_state", String(20), nullable=False, server_default="stopped"),
    Column("status", String(20), nullable=False, server_default="stopped"),
    Column("trading_state", String(20), nullable=False, server_default="ACTIVE"),
    instant("started_at", nullable=True),
    instant("last_heartbeat", nullable=True),
    Column("error_count", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("current_balance", SHOWN),
    Column("total_pnl", SHOWN),
    Column("extra_metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("node_id", Text),
    instant("created_at", default_now=True),
    instant("updated_at", default_now=True),
    instant("deleted_at", nullable=True),
    one_of("desired_state", DesiredState),
    one_of("status", BotStatus),
    one_of("trading_state", TradingState),
    Index("trading_bots_name_idx", "user_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
    postgresql_with={"fillfactor": "70"},
)

trading_bot_versions = Table(
    "trading_bot_versions",
    metadata,
    Column("bot_id", Integer, ForeignKey("trading_bots.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("config", JSONB, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("changed_by", Text, nullable=False),
    instant("changed_at", default_now=True),
)

trading_bot_states = Table(
    "trading_bot_states",
    metadata,
    Column("bot_id", Integer, ForeignKey("trading_bots.id"), primary_key=True),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    exact("cash"),
    exact("highest_equity"),
    instant("last_processed_bar", nullable=True),
    Column("order_number", Integer, nullable=False, server_default="0"),
    Column("next_ref", Integer, nullable=False, server_default="1"),
    Column("strategy_state", JSONB),
    Column("unheard", JSONB, nullable=False, server_default="{}"),
    instant("updated_at", default_now=True),
    postgresql_with={"fillfactor": "70"},
)

trading_orders = Table(
    "trading_orders",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("client_order_id", Text, nullable=False, unique=True),
    bot_id(),
    Column("bar_at", instant("bar_at").type, nullable=False),
    Column("number", Integer, nullable=False),
    Column("ref", Integer, nullable=False),
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
    exact("filled_quantity", default=0),
    exact("filled_cost", default=0),
    exact("fees", default=0),
    Column("venue_order_id", Text),
    Column("reason", Text),
    Column("is_cancel_requested", Boolean, nullable=False, server_default=text("false")),
    instant("created_at", default_now=True),
    instant("updated_at", default_now=True),
    one_of("side", Side),
    one_of("type", OrderType),
    one_of("status", OrderStatus),
    Index("trading_orders_bot_id_idx", "bot_id", "id"),
    Index(
        "trading_orders_open_idx",
        "bot_id",
        postgresql_where=text("status NOT IN ('filled', 'cancelled', 'rejected', 'lost')"),
    ),
    postgresql_with={"fillfactor": "70"},
)

trading_fills = Table(
    "trading_fills",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    bot_id(),
    Column("client_order_id", Text, ForeignKey("trading_orders.client_order_id"), nullable=False),
    Column("venue_fill_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    exact("quantity"),
    exact("price"),
    exact("fee"),
    instant("filled_at"),
    instant("booked_at", default_now=True),
    one_of("side", Side),
    UniqueConstraint("bot_id", "venue_fill_id"),
    Index("trading_fills_client_order_id_idx", "client_order_id"),
)

trading_positions = Table(
    "trading_positions",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    bot_id(),
    Column("symbol", Text, nullable=False),
    Column("direction", String(10), nullable=False),
    exact("quantity", default=0),
    exact("cost", default=0),
    exact("realized", default=0),
    exact("fees", default=0),
    Column("qty_open", SHOWN, Computed("abs(quantity)", persisted=True), nullable=False),
    Column("avg_price", SHOWN, Computed("cost / nullif(abs(quantity), 0)", persisted=True)),
    Column("realized_pnl", SHOWN, Computed("realized", persisted=True)),
    Column("status", String(12), nullable=False),
    Column("origin", Text, nullable=False, server_default="traded"),
    instant("opened_at"),
    instant("closed_at", nullable=True),
    instant("updated_at", default_now=True),
    one_of("direction", Direction),
    one_of("status", ("open", "closed")),
    one_of("origin", ("traded", "adopted")),
    Index("trading_positions_bot_id_idx", "bot_id", "id"),
    Index(
        "trading_positions_open_idx", "bot_id", "symbol", unique=True, postgresql_where=text("status = 'open'")
    ),
    postgresql_with={"fillfactor": "70"},
)

trading_trades = Table(
    "trading_trades",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    bot_id(),
    Column("position_id", Integer, ForeignKey("trading_positions.id"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("direction", String(10), nullable=False),
    exact("largest", default=0),
    exact("entry_quantity", default=0),
    exact("entry_cost", default=0),
    exact("exit_quantity", default=0),
    exact("exit_cost", default=0),
    exact("realized", default=0),
    exact("fees", default=0),
    Column("size", SHOWN, Computed("largest", persisted=True), nullable=False),
    Column("entry_price", SHOWN, Computed("entry_cost / nullif(entry_quantity, 0)", persisted=True)),
    Column("exit_price", SHOWN, Computed("exit_cost / nullif(exit_quantity, 0)", persisted=True)),
    Column("realized_pnl", SHOWN, Computed("realized", persisted=True)),
    Column("status", String(12), nullable=False),
    instant("entry_time"),
    instant("exit_time", nullable=True),
    one_of("direction", Direction),
    one_of("status", ("open", "closed")),
    Index("trading_trades_bot_id_idx", "bot_id", "id"),
    Index("trading_trades_open_idx", "bot_id", "symbol", unique=True, postgresql_where=text("status = 'open'")),
    postgresql_with={"fillfactor": "70"},
)

trading_bot_events = Table(
    "trading_bot_events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    bot_id(),
    instant("at", default_now=True),
    Column("kind", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    one_of("level", ("info", "warning", "error")),
    Index("trading_bot_events_bot_id_idx", "bot_id", "id"),
)

trading_equity = Table(
    "trading_equity",
    metadata,
    Column("bot_id", Integer, ForeignKey("trading_bots.id"), primary_key=True),
    Column("bar_at", instant("bar_at").type, primary_key=True),
    exact("equity"),
    exact("cash"),
)

trading_bot_commands = Table(
    "trading_bot_commands",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("dedup_key", Text, nullable=False, unique=True),
    Column("bot_id", Integer, nullable=False),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("command", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("source", Text, nullable=False),
    instant("created_at", default_now=True),
    instant("accepted_at", nullable=True),
    Column("outcome", Text),
    one_of("command", ("start", "stop", "pause", "resume", "restart", "reconcile", "signal")),
    Index("trading_bot_commands_open_idx", "id", postgresql_where=text("accepted_at IS NULL")),
)

# What the service writes on its way is no change that anybody made.
_AUDIT = audited(
    "trading_bots",
    "bot",
    columns="name, config, desired_state, trading_state, deleted_at",
    ignored="status,started_at,last_heartbeat,error_count,last_error,current_balance,total_pnl,node_id,"
    "created_at,updated_at",
)
event.listen(metadata, "after_create", DDL(_AUDIT.replace("%", "%%")))  # type: ignore[no-untyped-call]
