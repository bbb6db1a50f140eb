"""What a bot's new process begins with: its configuration, its past, and what it held when it last ran."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from atf.trading.book import BotBook
from atf.trading.bot import Bot
from atf.trading.bot_config import BotConfig
from atf.trading.bot_messages import Candle, Feed, HeldPosition, OpenOrder, Start
from atf.trading.order import OWN_REF, Order, OrderStatus

_LOGGER = logging.getLogger(__name__)


def first_message(
    bot: Bot,
    config: BotConfig,
    target: str,
    book: BotBook,
    history: Mapping[str, Sequence[tuple[datetime, Candle]]],
) -> Start:
    """Return what a process begins with that is told nothing of what its bot holds; ``target``: the strategy."""
    return Start(
        bot_id=bot.id,
        name=bot.name,
        strategy=target,
        params=config.strategy.params,
        feeds=[Feed(symbol, config.timeframe, history[symbol], config.resample) for symbol in config.symbols],
        cash=book.cash,
        next_ref=book.next_ref,
        most_orders=config.risk.max_orders_per_bar,
        config=bot.config,
    )


def with_what_is_held(start: Start, book: BotBook, ended: Sequence[Order], recovered: Mapping[str, Any]) -> Start:
    """Return it with positions, orders and the strategy's state.

    ``ended``: orders whose end the strategy has not heard of. ``recovered``: the same in the mission's words.
    """
    return replace(
        start,
        positions=_held(book),
        orders=_known_orders([*ended, *book.orders.values()]),
        state=book.state,
        config={**start.config, **recovered},
    )


def tell_recovered(bot: Bot, recovered: Mapping[str, Any], *, hands_state: bool) -> None:
    """Say what a bot holds; loudly, if its strategy is not told."""
    level = logging.INFO if hands_state else logging.WARNING
    positions, trades = recovered["_recovered_positions"], recovered["_recovered_trades"]
    if positions:
        whose = "recovered" if hands_state else "left to the operator"
        _LOGGER.log(level, "bot %d: %d open positions %s", bot.id, len(positions), whose)
    for one in positions:
        shown = (one["symbol"], one["direction"], one["qty_open"], one["avg_price"], one["status"])
        _LOGGER.log(level, "bot %d: position %s %s qty=%.8f avg_price=%.8f status=%s", bot.id, *shown)
    if trades:
        _LOGGER.log(level, "bot %d: %d open trades recovered", bot.id, len(trades))


def _held(book: BotBook) -> Sequence[HeldPosition]:
    return [
        HeldPosition(
            symbol,
            one.position.quantity,
            one.position.average_price or Decimal(0),
            one.position.fees,
            one.position.opened_at,
        )
        for symbol, one in book.holdings.items()
    ]


def _known_orders(orders: Sequence[Order]) -> Sequence[OpenOrder]:
    """Return orders as a new process knows them; of one that has ended it hears the end by an update."""
    refs = {order.client_order_id: order.ref for order in orders}
    groups: Mapping[str, int] = {}
    opened: list[OpenOrder] = []
    for order in orders:
        group, parent = order.new.oco_group, order.new.parent
        opened.append(
            OpenOrder(
                order.ref,
                order.client_order_id,
                order.terms,
                OrderStatus.UNKNOWN if order.status.is_final else order.status,
                order.filled_quantity,
                order.average_price,
                oco_ref=None if group is None else groups.get(group),
                parent_ref=None if parent is None else refs.get(parent),
                fees=order.fees,
            )
        )
        if group is not None:
            groups = {group: order.ref, **groups}
    return [one for one in opened if one.ref != OWN_REF]
