"""Books in PostgreSQL: whole changes, once each, and by who has the bot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from atf.notifications.message import OutgoingMessage
from atf.storage import books_repository
from atf.storage.books_repository import PostgresBooks
from atf.storage.database import Database
from atf.storage.trading_repository import PostgresTradingStore
from atf.trading.book import BotBook, book_fill, with_orders
from atf.trading.books import BotChange, BotEvent, BotTaken
from atf.trading.fill import Fill
from atf.trading.order import (
    BotId,
    ClientOrderId,
    NewOrder,
    Order,
    OrderStatus,
    OrderTerms,
    OrderType,
    Side,
    client_order_id,
)

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

BAR = datetime(2026, 1, 5, tzinfo=UTC)
CAPITAL = Decimal("10000.000000001")


@pytest.fixture
def books(database: Database) -> PostgresBooks:
    return PostgresBooks(database)


async def a_bot(rows: Rows, books: PostgresBooks, name: str = "one") -> BotBook:
    bot_id = BotId(
        await rows.value(
            "INSERT INTO trading_bots (user_id, name, config) VALUES (1, :name, '{}') RETURNING id", name=name
        )
    )
    await books.open(bot_id, CAPITAL)
    return (await books.load([bot_id]))[bot_id]


def an_order(book: BotBook, side: Side = Side.BUY, quantity: str = "2", number: int = 0) -> Order:
    name = client_order_id("x", book.bot_id, BAR, number)
    terms = OrderTerms("AAPL", side, OrderType.LIMIT, Decimal(quantity), limit_price=Decimal("100.25"))
    new = NewOrder(name, terms, "group", ClientOrderId("parent"))
    return Order(book.bot_id, number + 1, BAR, number, new, OrderStatus.INTENT, created_at=BAR)


def a_fill(order: Order, fill_id: str, quantity: str, price: str) -> Fill:
    at = BAR + timedelta(hours=1)
    name, side = order.client_order_id, order.terms.side
    return Fill(fill_id, name, "AAPL", side, Decimal(quantity), Decimal(price), Decimal("0.001"), at)


def step(book: BotBook, orders: Sequence[Order]) -> BotChange:
    after = replace(
        with_orders(book, orders),
        revision=book.revision + 1,
        last_bar_at=BAR,
        order_number=len(orders),
        next_ref=len(orders) + 1,
        state={"seen": [1, 2]},
    )
    return BotChange(after, new_orders=orders, is_bar=True)


def filled(book: BotBook, order: Order, *fills: Fill) -> BotChange:
    holdings = []
    for fill in fills:
        booked = book_fill(book, order, fill)
        book, order = booked.book, booked.order
        holdings.append(booked.holding)
    return BotChange(replace(book, revision=book.revision + 1), orders=[order], fills=fills, holdings=holdings)


def same(one: BotBook, other: BotBook) -> bool:
    """Whether two books agree in all that is stored."""
    return replace(one, marks={}) == replace(other, marks={})


async def test_what_is_committed_is_what_is_loaded_to_the_last_digit(books: PostgresBooks, rows: Rows) -> None:
    book = await a_bot(rows, books)
    assert (book.cash, book.revision) == (CAPITAL, 0)
    order = an_order(book, quantity="3.000000000000000001")
    first = step(book, [order])
    await books.commit(first)
    assert same((await books.load([book.bot_id]))[book.bot_id], first.book)
    second = filled(
        first.book,
        order,
        a_fill(order, "f1", "1.000000000000000001", "100.1"),
        a_fill(order, "f2", "0.5", "100.3"),
    )
    await books.commit(second)
    loaded = (await books.load([book.bot_id]))[book.bot_id]
    assert same(loaded, second.book)
    (row,) = await rows.all("SELECT * FROM trading_positions")
    position = second.book.holding("AAPL").position
    assert (row.quantity, row.cost, row.direction, row.status) == (
        Decimal("1.500000000000000001"),
        position.cost,
        "LONG",
        "open",
    )
    assert row.avg_price == round(position.cost / position.quantity, 8)
    assert await rows.value("SELECT equity FROM trading_equity") == CAPITAL


async def test_a_change_that_is_committed_again_is_stored_once(books: PostgresBooks, rows: Rows) -> None:
    book = await a_bot(rows, books)
    order = an_order(book)
    message = OutgoingMessage(1, "bot", "t", "b", "key", ("inbox",))
    first = replace(step(book, [order]), events=[BotEvent("order", "sent")], messages=[message])
    second = filled(first.book, order, a_fill(order, "f1", "2", "100"))
    sold = an_order(second.book, Side.SELL, "5", 1)
    third = step(second.book, [sold])
    fourth = filled(third.book, sold, a_fill(sold, "f2", "5", "110"))
    for change in (first, first, second, second, third, third, fourth, fourth):
        await books.commit(change)
    assert await rows.column("SELECT status FROM trading_orders ORDER BY id") == ["filled", "filled"]
    assert await rows.value("SELECT count(*) FROM trading_fills") == 2
    assert await rows.value("SELECT count(*) FROM trading_bot_events") == 1
    assert await rows.value("SELECT count(*) FROM msg_messages") == 1
    positions = await rows.all(
        "SELECT direction, qty_open, realized_pnl, status FROM trading_positions ORDER BY id"
    )
    assert [tuple(row) for row in positions] == [("LONG", 0, 20, "closed"), ("SHORT", 3, 0, "open")]
    trades = await rows.all(
        "SELECT direction, size, entry_price, exit_price, status FROM trading_trades ORDER BY id"
    )
    assert [tuple(row) for row in trades] == [("LONG", 2, 100, 110, "closed"), ("SHORT", 3, 110, None, "open")]
    assert same((await books.load([book.bot_id]))[book.bot_id], fourth.book)


async def test_an_order_that_is_cancelled_as_it_is_made_is_stored_so(books: PostgresBooks, rows: Rows) -> None:
    book = await a_bot(rows, books)
    order = an_order(book)
    cancelled = replace(order, is_cancel_requested=True)
    change = step(book, [order])
    await books.commit(replace(change, orders=[cancelled], book=with_orders(change.book, [cancelled])))
    stored = await books.order(book.bot_id, order.client_order_id)
    assert stored is not None
    assert stored.is_cancel_requested


async def test_whoever_lost_a_bot_stores_nothing_of_it_any_more(
    books: PostgresBooks, rows: Rows, database: Database
) -> None:
    book = await a_bot(rows, books)
    await rows.change("UPDATE trading_bots SET desired_state = 'running', node_id = 'dead'")
    assert await PostgresTradingStore(database).claim(book.bot_id, "node", ["dead"])
    with pytest.raises(BotTaken):
        await books.commit(step(book, [an_order(book)]))
    assert await rows.value("SELECT count(*) FROM trading_orders") == 0
    taken = (await books.load([book.bot_id]))[book.bot_id]
    await books.commit(step(taken, [an_order(taken)]))


async def test_changes_of_many_bots_at_once_are_all_stored_and_a_bad_one_fails_alone(
    books: PostgresBooks, rows: Rows
) -> None:
    made = [await a_bot(rows, books, f"bot {number}") for number in range(20)]
    changes = [step(book, [an_order(book)]) for book in made]
    changes[7] = replace(changes[7], events=[BotEvent("order", "a NUL \0 in it")])
    changes[9] = step(replace(made[9], revision=5), [an_order(made[9])])
    results = await asyncio.gather(*map(books.commit, changes), return_exceptions=True)
    assert [number for number, one in enumerate(results) if one is not None] == [7, 9]
    assert isinstance(results[9], BotTaken)
    assert await rows.value("SELECT count(*) FROM trading_orders") == 18
    assert await rows.value("SELECT count(*) FROM trading_bot_states WHERE revision = 1") == 18


async def test_orders_go_first_and_what_is_told_waits_for_them_but_not_for_long(
    books: PostgresBooks, rows: Rows, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books_repository, "_AT_MOST", 60.0)
    slow, told = await a_bot(rows, books, "slow"), await a_bot(rows, books, "told")
    order = an_order(told)
    await books.commit(first := step(told, [order]))
    locked = text("SELECT 1 FROM trading_bot_states WHERE bot_id = :bot_id FOR UPDATE")
    async with database.transaction() as connection:
        await connection.execute(locked, {"bot_id": slow.bot_id})
        sending = asyncio.create_task(books.commit(before := step(slow, [an_order(slow)])))
        telling = asyncio.create_task(books.commit(filled(first.book, order, a_fill(order, "f1", "1", "100"))))
        await asyncio.sleep(0.1)
        assert not await books.has_fill(told.bot_id, "f1")
    await asyncio.gather(sending, telling)
    assert await books.has_fill(told.bot_id, "f1")

    monkeypatch.setattr(books_repository, "_AT_MOST", 0.01)
    again = (await books.load([told.bot_id]))[told.bot_id]
    async with database.transaction() as connection:
        await connection.execute(locked, {"bot_id": slow.bot_id})
        more = [an_order(before.book, number=1)]
        sending = asyncio.create_task(books.commit(step(before.book, more)))
        known = again.orders[order.client_order_id]
        await books.commit(filled(again, known, a_fill(known, "f2", "1", "100")))
        assert not sending.done()
    await sending


async def test_final_orders_and_their_fills_are_found_though_no_book_has_them(
    books: PostgresBooks, rows: Rows
) -> None:
    book = await a_bot(rows, books)
    order = an_order(book)
    await books.commit(first := step(book, [order]))
    await books.commit(filled(first.book, order, a_fill(order, "f1", "2", "100")))
    found = await books.order(book.bot_id, order.client_order_id)
    assert found is not None
    assert (found.status, found.filled_quantity, found.new) == (OrderStatus.FILLED, Decimal(2), order.new)
    assert await books.has_fill(book.bot_id, "f1")
    assert not await books.has_fill(book.bot_id, "f2")
    assert await books.order(book.bot_id, ClientOrderId("nobody's")) is None
