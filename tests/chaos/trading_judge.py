"""What is promised of bots whose service was killed: books and venue agree, and every order has a told end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, LiteralString, NamedTuple

from atf.testing.venue_books import HeldAccount
from atf.trading.fill import Fill
from atf.trading.paper.account import PaperOrder
from tests.chaos.trading_site import (
    BEGIN,
    DAY,
    FEE_FRACTION,
    PART_OF_VOLUME,
    SIZE,
    TO_FILL_THE_REST,
    WARM_UP,
    TradingSite,
    candle_at,
)
from tests.trades_by_hand import (
    BOOKED_TRADES,
    DecidedOrder,
    Opening,
    Share,
    shares_by_hand,
    trades_by_hand,
)

_NOT_TAKEN: Final = frozenset({"lost", "rejected"})
"""How orders end that the venue does not have."""
_ENDS: Final = _NOT_TAKEN | {"filled", "cancelled"}
_UNTOLD: Final[LiteralString] = """
    SELECT o.client_order_id, o.status FROM trading_orders o WHERE o.status IN ('lost', 'rejected') AND 1 <> (
        SELECT count(*) FROM trading_bot_events e
        WHERE e.bot_id = o.bot_id AND starts_with(e.text, 'order ' || o.client_order_id || ' (')
          AND (e.kind = 'refused' OR position(' is ' || o.status || ': ' IN e.text) > 0))
"""
"""Orders whose end is not in their bot's history, or more than once."""


class _Order(NamedTuple):
    """An order as either side has it; ``cost`` of what is filled, without ``fees``."""

    status: str
    filled_quantity: Decimal
    cost: Decimal
    fees: Decimal


def judge(site: TradingSite, traded: int, *, is_told_in_order: bool = True) -> None:
    """Do nothing if all is as promised of bots that were to make an order at each of so many bars.

    ``is_told_in_order``: whether the venue has told of fills as they came; else trades are those that the same
    fills make in the order in which they were told.
    Errors: AssertionError that says which promise is broken.
    """
    submissions = site.venue.submissions
    assert max(submissions.values(), default=0) <= 1, "an order was sent twice"
    stored = {row[0] for row in site.query("SELECT client_order_id FROM trading_orders")}
    assert set(submissions) <= stored, "an order was sent that is not in the books"
    failed = site.query("SELECT bot_id, text FROM trading_bot_events WHERE level = 'error' AND kind <> 'order'")
    assert not failed, f"a bot has failed: {failed[:5]}"
    untold = site.query(_UNTOLD)
    assert not untold, f"the ends of {untold[:5]} are not told once each"
    trades = defaultdict(list)
    for bot, *trade in site.query(BOOKED_TRADES):
        trades[bot].append(tuple(trade))
    for bot in site.bots:
        shares = _undisturbed(traded, missing=_judge_bot(site, bot, traded))
        if not is_told_in_order:
            shares = _in_booked_order(site, bot, shares)
        assert trades[bot] == trades_by_hand(shares, FEE_FRACTION), f"bot {bot}: other trades than without a kill"


def _judge_bot(site: TradingSite, bot: int, traded: int) -> Collection[datetime]:
    """Judge all but trades, and return the bars whose orders the venue has not taken."""
    rows = site.query(
        "SELECT bar_at, client_order_id, status, filled_quantity, filled_cost, fees FROM trading_orders "
        "WHERE bot_id = %(id)s ORDER BY id",
        id=bot,
    )
    assert [row[0] for row in rows] == _bars(traded), f"bot {bot}: not one order at each bar"
    account = site.venue.account(f"bot-{bot}")
    _require_same_orders({row[1]: _Order(*row[2:]) for row in rows}, account)
    _require_same_account(site, bot, account)
    return {row[0] for row in rows if row[2] in _NOT_TAKEN}


def _require_same_orders(ours: Mapping[str, _Order], account: HeldAccount) -> None:
    theirs = {name: _as_filled(order, account.fills) for name, order in account.orders.items()}
    assert {order.status for order in ours.values()} <= _ENDS, "an order has no end"
    assert {name: ours[name] for name in theirs} == theirs, "orders differ from the venue's"
    for name in ours.keys() - theirs.keys():
        assert ours[name].status in _NOT_TAKEN, f"{name} is {ours[name].status}, and the venue does not know it"
        assert not ours[name].filled_quantity


def _as_filled(order: PaperOrder, fills: Sequence[Fill]) -> _Order:
    mine = [fill for fill in fills if fill.client_order_id == order.client_order_id]
    cost, fees = sum((fill.cost for fill in mine), Decimal(0)), sum((fill.fee for fill in mine), Decimal(0))
    return _Order(str(order.status), order.filled_quantity, cost, fees)


def _require_same_account(site: TradingSite, bot: int, account: HeldAccount) -> None:
    book = account.account.book
    ((cash,),) = site.query("SELECT cash FROM trading_bot_states WHERE bot_id = %(id)s", id=bot)
    assert cash == book.cash
    held = "SELECT symbol, quantity FROM trading_positions WHERE bot_id = %(id)s AND status = 'open'"
    assert dict(site.query(held, id=bot)) == dict(book.positions)
    booked = "SELECT venue_fill_id, quantity, price, fee, filled_at FROM trading_fills WHERE bot_id = %(id)s"
    fills = [(f.venue_fill_id, f.quantity, f.price, f.fee, f.filled_at) for f in account.fills]
    assert sorted(site.query(booked, id=bot)) == sorted(fills)


def _undisturbed(traded: int, missing: Collection[datetime]) -> Sequence[Share]:
    """Return what a bot trades that nothing disturbs, reckoned from bars and fill model alone.

    Nobody sends again what was lost: the orders of the bars that are ``missing`` count as never made.
    """
    orders = [
        DecidedOrder(at, -1 if number % 2 else 1, SIZE)
        for number, at in enumerate(_bars(traded))
        if at not in missing
    ]
    openings = []
    for day in range(WARM_UP + 1, WARM_UP + traded + TO_FILL_THE_REST):
        price, *_, volume = candle_at(day)
        openings.append(Opening(BEGIN + day * DAY, Decimal(repr(price)), int(Decimal(volume) * PART_OF_VOLUME)))
    return list(shares_by_hand(orders, openings))


def _in_booked_order(site: TradingSite, bot: int, shares: Sequence[Share]) -> Sequence[Share]:
    """Return the same shares in the order in which they were booked."""
    rows = site.query(
        "SELECT filled_at, side, price, quantity FROM trading_fills WHERE bot_id = %(id)s ORDER BY id", id=bot
    )
    booked = [
        Share(at, 1 if side == "buy" else -1, price) for at, side, price, size in rows for _ in range(int(size))
    ]
    assert sorted(booked) == sorted(shares), f"bot {bot}: other fills than without any kill"
    return booked


def _bars(traded: int) -> Sequence[datetime]:
    return [BEGIN + (WARM_UP + number) * DAY for number in range(traded)]
