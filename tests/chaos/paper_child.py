"""A process that trades on paper minute after minute, until it is killed or all minutes are done.

What it does in a minute depends on the minute alone, so that whoever goes on after a kill does the same.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from atf.adapters.brokers.paper import PaperBroker, PaperVenue
from atf.storage.database import Database
from atf.storage.paper_repository import PostgresPaperStore
from atf.testing.clocks import FakeClock
from atf.trading.broker import OrderRejected
from atf.trading.order import NewOrder
from atf.trading.paper.options import parse_paper_options
from tests.paper_bars import BEGIN, MINUTES, candle, new

ACCOUNTS: Final = 6
OPTIONS: Final = {
    "type": "paper",
    "cash": 20_000,
    "fee_fraction": 0.00075,
    "slippage_fraction": 0.0005,
    "partial_fill_fraction": 0.01,
    "quantity_step": 0.1,
}


def orders_of(account: int, minute: int) -> Sequence[NewOrder]:
    """A bracket every fourth minute, and something else in between."""
    dice, name = random.Random(f"{account}/{minute}"), f"o{account}-{minute}"
    quantity = str(dice.randint(1, 40) / 10)
    if minute % 4 == 0:
        return [
            new(f"{name}-p", "buy", "market", quantity),
            new(f"{name}-s", "sell", "trailing_stop", quantity, stop_price="95", trail_amount="4", group=name,
                parent=f"{name}-p"),
            new(f"{name}-t", "sell", "limit", quantity, limit_price="104", group=name, parent=f"{name}-p"),
        ]  # fmt: skip
    side = dice.choice(["buy", "sell"])
    return [new(name, side, "limit", quantity, limit_price=str(dice.randint(96, 104)))]


def prices_of(minute: int) -> tuple[float, float, float, float]:
    dice = random.Random(minute)
    opened, close = (round(100 + dice.uniform(-4, 4), 2) for _ in range(2))
    return opened, max(opened, close) + 1, min(opened, close) - 1, close


async def trade(url: str, venue_name: str, until: int, log: Path) -> None:
    """Go on from the first minute that is not known to be done."""
    database, clock = Database(url), FakeClock(BEGIN)
    try:
        venue = PaperVenue(PostgresPaperStore(database, venue_name), clock)
        options = parse_paper_options(OPTIONS)
        brokers = [await venue.open(f"{venue_name}-{number}", options) for number in range(ACCOUNTS)]
        begin = len(log.read_text().split("matched")) - 1 if log.exists() else 0
        with log.open("a", buffering=1) as told:
            print("ready", flush=True)
            for minute in range(begin, until):
                clock.at = BEGIN + timedelta(minutes=minute)
                names = await asyncio.gather(*(_send(b, n, minute) for n, b in enumerate(brokers)))
                told.write("".join(f"taken {name}\n" for sent in names for name in sent))
                await venue.on_bars({MINUTES: (clock.now(), candle(prices_of(minute), 900.0))})
                told.write("matched\n")
    finally:
        await database.close()


async def _send(broker: PaperBroker, account: int, minute: int) -> list[str]:
    taken = []
    for order in orders_of(account, minute):
        try:
            taken.append((await broker.submit(order)).client_order_id)
        except OrderRejected:  # a child whose parent was rejected in the bar before a kill
            taken.append(order.client_order_id)
    return [f"{broker.account} {name}" for name in taken]


if __name__ == "__main__":
    asyncio.run(trade(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
