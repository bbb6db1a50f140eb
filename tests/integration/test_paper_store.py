"""The paper venue's books on a real PostgreSQL: idempotent, exact, one transaction for all accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, text
from tests.integration.conftest import Eventually, Rows
from tests.paper_bars import BEGIN, BTC, MINUTES, candle, new, number, rules

from atf.adapters.brokers.paper import PaperVenue
from atf.errors import Conflict, InvariantViolation, NotFound
from atf.market.bars import Series, Timeframe
from atf.storage.database import Database
from atf.storage.paper_repository import PostgresPaperStore
from atf.testing.clocks import FakeClock
from atf.trading.broker import OrderRejected, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus
from atf.trading.paper.bar import PaperBar, paper_bar
from atf.trading.paper.options import parse_paper_options
from atf.trading.paper.store import AccountNews, Matched, Submission, Taken

CASH = Decimal(100000)
HOURS = Series(BTC, Timeframe.H1)
FLAT = (100.0, 100.0, 100.0, 100.0)


@pytest.fixture
def store(database: Database) -> PostgresPaperStore:
    return PostgresPaperStore(database)


async def opened(store: PostgresPaperStore, *names: str, **given: Any) -> None:
    for name in names:
        await store.open_account(name, rules(**given), CASH)


async def send(store: PostgresPaperStore, account: str, *orders: NewOrder) -> list[VenueOrder]:
    answers = await store.submit([Submission(account, order, BEGIN) for order in orders])
    return [answer.order for answer in answers if isinstance(answer, Taken)]


async def bar(store: PostgresPaperStore, minute: int, *prices: float) -> Matched:
    return await store.match({MINUTES: (BEGIN + timedelta(minutes=minute), candle(prices))})


def fills(news: Sequence[AccountNews]) -> list[tuple[str, str, str]]:
    return [(one.account, fill.venue_fill_id, number(fill.price)) for one in news for fill in one.fills]


async def test_an_order_is_taken_filled_and_told(store: PostgresPaperStore) -> None:
    await opened(store, "a", fee_fraction="0.001")
    (taken,) = await send(store, "a", new("x", "buy", "market", "2"))
    assert (taken.status, taken.filled_quantity) == (OrderStatus.ACCEPTED, Decimal(0))
    matched = await bar(store, 0, *FLAT)
    assert fills(matched.news) == [("a", "x.1", "100")]
    assert await store.order("a", ClientOrderId("x")) == matched.news[0].orders[0]
    assert await store.fills_of("a", ClientOrderId("x")) == list(matched.news[0].fills)
    state = await store.open_state("a", BEGIN)
    assert (state.cash, dict(state.positions)) == (Decimal("99799.8"), {BTC: Decimal(2)})
    assert not state.orders


async def test_opening_an_account_again_changes_its_rules_and_not_its_cash(
    store: PostgresPaperStore, database: Database
) -> None:
    await opened(store, "a")
    await send(store, "a", new("x", "buy", "market"))
    await bar(store, 0, *FLAT)
    await opened(store, "a", slippage_fraction="0.01")
    assert (await store.open_state("a", BEGIN)).cash == CASH - 100
    await send(store, "a", new("y", "buy", "market"))
    assert fills((await bar(store, 1, *FLAT)).news) == [("a", "y.1", "101")]
    with pytest.raises(Conflict, match='another venue has a paper account of the name "a"'):
        await PostgresPaperStore(database, "replay").open_account("a", rules(), CASH)


async def test_a_name_that_is_known_answers_with_the_first_order(store: PostgresPaperStore, rows: Rows) -> None:
    await opened(store, "a", "b")
    first = await send(store, "a", new("x", "buy", "market"))
    both = [
        Submission("a", new("x", "sell", "market", "7"), BEGIN),
        Submission("b", new("x", "buy", "market"), BEGIN),
    ]
    again = await store.submit([*both, both[1]])
    assert again[0] == Taken(first[0], is_new=False)
    assert [one.is_new for one in again if isinstance(one, Taken)] == [False, True, False]
    assert await rows.value("SELECT count(*) FROM paper_orders") == 2


async def test_a_refusal_is_remembered_and_what_cannot_be_written_is_refused_alone(
    store: PostgresPaperStore,
) -> None:
    await opened(store, "a", quantity_step="1")
    odd = [new("x", "buy", "market", "0.5"), new("y\0", "buy", "market"), new("z", "buy", "market", "-1")]
    good = new("ok", "buy", "market")
    answers = await store.submit([Submission("a", order, BEGIN) for order in (*odd, good)])
    assert isinstance(answers[0], Taken)
    assert answers[0].order.status is OrderStatus.REJECTED
    assert isinstance(answers[1], OrderRejected)
    assert isinstance(answers[2], OrderRejected)
    assert isinstance(answers[3], Taken)
    known = await store.order("a", ClientOrderId("x"))
    assert known is not None
    assert known.reason == "quantity 0.5 is not a multiple of the step 1"
    assert isinstance((await store.submit([Submission("?", good, BEGIN)]))[0], NotFound)


async def test_a_bracket_lives_in_the_database(store: PostgresPaperStore) -> None:
    await opened(store, "a")
    await send(
        store, "a", new("p", "buy", "market"), new("s", "sell", "stop", stop_price="95", group="g", parent="p")
    )
    await send(store, "a", new("t", "sell", "limit", limit_price="105", group="g", parent="p"))
    assert fills((await bar(store, 0, 100, 110, 90, 100)).news) == [("a", "p.1", "100")]
    matched = await bar(store, 1, 100, 106, 94, 100)
    assert fills(matched.news) == [("a", "s.1", "95")]
    assert {one.client_order_id: one.status for one in matched.news[0].orders} == {
        "s": OrderStatus.FILLED,
        "t": OrderStatus.CANCELLED,
    }
    late = await send(store, "a", new("u", "sell", "limit", limit_price="105", group="g"))
    assert late[0].reason == "its group is over: s was filled"


async def test_what_is_filled_in_one_symbol_cancels_its_group_in_another(store: PostgresPaperStore) -> None:
    await opened(store, "a")
    await send(store, "a", new("x", "buy", "market", group="g"))
    await send(store, "a", new("y", "buy", "market", group="g", symbol="ETH/USDT"))
    matched = await bar(store, 0, *FLAT)
    assert [(one.client_order_id, one.status.value) for one in matched.news[0].orders] == [
        ("x", "filled"),
        ("y", "cancelled"),
    ]


async def test_trailing_triggers_are_stored(store: PostgresPaperStore, rows: Rows) -> None:
    await opened(store, "a", allow_short=True)
    await send(store, "a", new("x", "sell", "trailing_stop", stop_price="95", trail_amount="5"))
    assert (await bar(store, 0, 100, 110, 99, 108)).news[0].fills == ()
    assert await rows.value("SELECT current_trigger FROM paper_orders") == 105
    assert fills((await bar(store, 1, 108, 108, 104, 104)).news) == [("a", "x.1", "105")]


async def test_a_bar_is_matched_once_whoever_brings_it(store: PostgresPaperStore, database: Database) -> None:
    await opened(store, "a")
    await bar(store, 3, *FLAT)
    await send(store, "a", new("x", "buy", "market"))
    for minute in (3, 2):
        assert await bar(store, minute, *FLAT) == Matched([], frozenset({BTC}))
    other = PostgresPaperStore(database)
    both = await asyncio.gather(bar(store, 4, *FLAT), bar(other, 4, *FLAT))
    assert sorted(len(one.news) for one in both) == [0, 1]
    hour = await store.match({HOURS: (BEGIN, candle(FLAT))})
    assert hour.known == {BTC}
    assert (await store.match({HOURS: (BEGIN + timedelta(hours=1), candle(FLAT))})).known == set()


async def test_what_happens_to_an_account_at_once_is_all_booked(store: PostgresPaperStore) -> None:
    await opened(store, "a", fee_fraction="0.001")
    symbols = [f"S{number}" for number in range(8)]
    await send(store, "a", *(new(f"x{symbol}", "buy", "market", symbol=symbol) for symbol in symbols))
    extra = [new(f"y{number}", "buy", "limit", limit_price="1") for number in range(8)]
    matching = [store.match({Series(symbol, Timeframe.M1): (BEGIN, candle(FLAT))}) for symbol in symbols]
    sending = [store.submit([Submission("a", order, BEGIN)]) for order in extra]
    cancelling = [store.cancel("a", ClientOrderId(f"x{symbol}"), BEGIN) for symbol in symbols]
    await asyncio.gather(*matching, *sending, *cancelling)
    state = await store.open_state("a", BEGIN)
    orders = [await store.order("a", ClientOrderId(f"x{symbol}")) for symbol in symbols]
    filled = [one for one in orders if one is not None and one.status is OrderStatus.FILLED]
    assert state.cash == CASH - len(filled) * Decimal("100.1")
    assert set(state.positions) == {one.symbol for one in filled}
    assert len(state.orders) == len(extra)


async def test_a_cancellation_that_comes_while_an_order_is_filled_waits_and_finds_it_filled(
    store: PostgresPaperStore, database: Database, rows: Rows, eventually: Eventually
) -> None:
    await opened(store, "a")
    await send(store, "a", new("x", "buy", "market"))
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def wait(count: int) -> Callable[[], Awaitable[bool]]:
        async def is_so() -> bool:
            return int(await rows.value(waiting)) == count

        return is_so

    async with database.transaction() as other:  # matching has written all but the position, and waits for it
        held = (
            "INSERT INTO paper_positions (account_id, symbol, quantity) SELECT id, :symbol, 0 FROM paper_accounts"
        )
        await other.execute(text(held), {"symbol": BTC})
        matching = asyncio.create_task(bar(store, 0, *FLAT))
        await eventually(wait(1))
        cancelling = asyncio.create_task(store.cancel("a", ClientOrderId("x"), BEGIN))
        await eventually(wait(2))
    assert len(fills((await matching).news)) == 1
    order, news = await cancelling
    assert (order.status, order.filled_quantity, news.events) == (OrderStatus.FILLED, Decimal(1), [])


async def test_of_a_symbols_bars_that_close_together_the_finest_counts(store: PostgresPaperStore) -> None:
    await opened(store, "a")
    await send(store, "a", new("x", "buy", "limit", limit_price="95"))
    last = BEGIN + timedelta(minutes=59)
    matched = await store.match({HOURS: (BEGIN, candle((100, 100, 90, 100))), MINUTES: (last, candle(FLAT))})
    assert matched.news == []


def piece(begin: float, end: float, *prices: float) -> PaperBar:
    opens_at, closes_at = (BEGIN + timedelta(seconds=one) for one in (begin, end))
    made = paper_bar(BTC, opens_at, closes_at, candle(prices))
    assert made is not None
    return made


async def test_pieces_of_a_bar_fill_what_was_there_before_them_and_the_bar_nothing_more(
    store: PostgresPaperStore,
) -> None:
    await opened(store, "a", "b")
    await send(store, "a", new("x", "buy", "limit", limit_price="95"))
    await send(store, "b", new("z", "buy", "limit", limit_price="95"))
    assert (await store.match_pieces([piece(0, 1, 100, 100, 96, 96)])).news == []
    matched = await store.match_pieces([piece(1, 2, 96, 96, 94, 94)])
    assert fills(matched.news) == [("a", "x.1", "95"), ("b", "z.1", "95")], "it counts for the symbol"
    late = Submission("a", new("y", "buy", "limit", limit_price="93"), BEGIN + timedelta(seconds=2.5))
    await store.submit([late])
    assert (await store.match_pieces([piece(1, 2, 96, 96, 90, 94)])).known == {BTC}
    assert (await store.match_pieces([piece(2, 3, 94, 94, 90, 94)])).news == [], "it came after that had begun"
    after_a_restart = piece(0, 30, 100, 100, 50, 94)
    assert (await store.match_pieces([after_a_restart])).known == {BTC}, "nobody knows when in it that was"
    assert (await bar(store, 0, 100, 100, 50, 94)).known == {BTC}, "its time is matched already"
    assert fills((await bar(store, 1, 94, 94, 50, 94)).news) == [("a", "y.1", "93")]


async def test_cancelling_takes_the_group_and_what_is_over_stays(store: PostgresPaperStore) -> None:
    await opened(store, "a")
    await send(store, "a", *(new(name, "buy", "limit", limit_price="90", group="g") for name in "xy"))
    order, news = await store.cancel("a", ClientOrderId("x"), BEGIN)
    assert order.status is OrderStatus.CANCELLED
    assert {one.client_order_id for one in news.orders} == {"x", "y"}
    again, nothing = await store.cancel("a", ClientOrderId("y"), BEGIN)
    assert (again.reason, nothing.events) == ("x of its group was cancelled", [])
    with pytest.raises(NotFound, match='the paper account "a" has no order "z"'):
        await store.cancel("a", ClientOrderId("z"), BEGIN)


async def test_news_are_told_again_to_who_was_not_there(store: PostgresPaperStore) -> None:
    await opened(store, "a", "b")
    await send(store, "a", new("x", "buy", "market"))
    await send(store, "b", new("x", "buy", "market"))
    matched = await bar(store, 0, *FLAT)
    assert await store.news_since(["a"], [BTC], BEGIN) == [
        AccountNews("a", list(matched.news[0].fills), list(matched.news[0].orders))
    ]
    assert await store.news_since(["a"], [BTC], BEGIN + timedelta(minutes=2)) == []


async def test_a_broker_hears_of_bars_that_another_process_has_matched(database: Database) -> None:
    here, there = (PaperVenue(PostgresPaperStore(database), FakeClock(BEGIN)) for _ in range(2))
    broker = await here.open("a", parse_paper_options({"type": "paper"}))
    await broker.submit(new("x", "buy", "market"))
    events = broker.events()
    for venue in (there, here):
        await venue.on_bars({MINUTES: (BEGIN, candle(FLAT))})
    assert isinstance(await anext(events), Fill)
    told = await anext(events)
    assert isinstance(told, VenueOrder)
    assert told.status is OrderStatus.FILLED


async def test_a_thousand_accounts_cost_as_many_statements_as_one(
    store: PostgresPaperStore, database: Database, rows: Rows
) -> None:
    await opened(store, "a", fee_fraction="0.001")
    count = 1000
    await rows.change(
        """
        INSERT INTO paper_accounts (venue, name, starting_cash, cash, fee_fraction, slippage_fraction,
            latency_seconds, allow_short, quantity_step, price_step, minimum_quantity, minimum_value)
        SELECT venue, 'n' || n, cash, cash, fee_fraction, slippage_fraction, latency_seconds, allow_short,
               quantity_step, price_step, minimum_quantity, minimum_value
        FROM paper_accounts, generate_series(1, :count) n
        """,
        count=count,
    )
    orders = [Submission(f"n{n}", new("x", "buy", "market"), BEGIN) for n in range(1, count + 1)]
    statements: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    taken = await store.submit(orders)
    assert all(isinstance(one, Taken) and one.is_new for one in taken)
    submitting = len(statements)
    statements.clear()
    matched = await bar(store, 0, *FLAT)
    assert len(fills(matched.news)) == count
    assert (submitting, len(statements)) == (3, 8)
    assert await rows.value("SELECT count(*) FROM paper_accounts WHERE cash = starting_cash - 100.1") == count


async def test_no_order_can_be_overfilled_and_no_fill_be_twice_even_by_mistake(
    store: PostgresPaperStore, rows: Rows
) -> None:
    await opened(store, "a")
    await send(store, "a", new("x", "buy", "market"))
    await bar(store, 0, *FLAT)
    with pytest.raises(InvariantViolation, match="paper_fills_account_id_venue_fill_id_key"):
        await rows.change(
            """
            INSERT INTO paper_fills
                (account_id, client_order_id, venue_fill_id, symbol, side, quantity, price, fee, filled_at)
            SELECT account_id, client_order_id, venue_fill_id, symbol, side, quantity, price, fee, filled_at
            FROM paper_fills
            """
        )
    with pytest.raises(InvariantViolation, match="paper_orders_filled_quantity_check"):
        await rows.change("UPDATE paper_orders SET filled_quantity = 2")
