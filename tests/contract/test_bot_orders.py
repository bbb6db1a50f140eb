"""A strategy's orders reach the service as they were made, and it hears of them as Backtrader tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from tests.bots import (
    T0,
    Strategies,
    Talk,
    feed,
    fill,
    forked_bots,
    noted,
    only_order,
    spawned,
    update,
)

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.market.bars import Timeframe
from atf.trading.order import OrderStatus, OrderTerms, OrderType, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEARING = """
    def next(self):
        if len(self.data) == 3:
            self.order = {order}
    def notify_order(self, order):
        done = order.executed
        self.note(order.ref, order.getstatusname(), done.size, done.price, done.remsize, round(done.comm, 9))
    def notify_trade(self, trade):
        about = trade.isopen, trade.isclosed, trade.size, trade.price, trade.pnl, round(trade.pnlcomm, 9)
        self.note("trade", *about)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bots() -> AsyncIterator[ForkedBots]:
    async with forked_bots() as bots:
        yield bots


@pytest_asyncio.fixture(loop_scope="module")
async def talk(bots: ForkedBots) -> AsyncIterator[Talk]:
    talk = await spawned(bots)
    yield talk
    await talk.process.kill()


@pytest.fixture
def strategy(tmp_path: Path) -> Strategies:
    return Strategies(tmp_path)


def _terms(kind: OrderType, side: Side = Side.BUY, quantity: str = "2", **more: object) -> OrderTerms:
    return OrderTerms("BTC", side, kind, Decimal(quantity), **more)  # type: ignore[arg-type]


D = Decimal
BAR_END = datetime(2026, 3, 2, 10, 3, tzinfo=UTC)  # of the bar at which the order is made


@pytest.mark.parametrize(
    ("order", "terms"),
    [
        ("self.buy(size=2)", _terms(OrderType.MARKET)),
        ("self.sell(size=2)", _terms(OrderType.MARKET, Side.SELL)),
        ("self.buy(size=0.1 + 0.2)", _terms(OrderType.MARKET, quantity="0.30000000000000004")),
        ("self.buy()", _terms(OrderType.MARKET, quantity="1")),
        (
            "self.buy(size=2, exectype=bt.Order.Limit, price=2.5)",
            _terms(OrderType.LIMIT, limit_price=D("2.5")),
        ),
        ("self.buy(size=2, exectype=bt.Order.Limit)", _terms(OrderType.LIMIT, limit_price=D("3.0"))),
        (
            "self.sell(size=2, exectype=bt.Order.Stop, price=2.5)",
            _terms(OrderType.STOP, Side.SELL, stop_price=D("2.5")),
        ),
        (
            "self.buy(size=2, exectype=bt.Order.StopLimit, price=3.5, plimit=3.75)",
            _terms(OrderType.STOP_LIMIT, stop_price=D("3.5"), limit_price=D("3.75")),
        ),
        (
            "self.sell(size=2, exectype=bt.Order.StopTrail, trailamount=0.5)",
            _terms(OrderType.TRAILING_STOP, Side.SELL, stop_price=D("2.5"), trail_amount=D("0.5")),
        ),
        (
            "self.buy(size=2, exectype=bt.Order.StopTrail, price=4, trailpercent=0.25)",
            _terms(OrderType.TRAILING_STOP, stop_price=D("5.0"), trail_fraction=D("0.25")),
        ),
        (
            "self.sell(size=2, exectype=bt.Order.StopTrailLimit, price=4, plimit=4.25, trailamount=1)",
            _terms(
                OrderType.TRAILING_STOP_LIMIT,
                Side.SELL,
                stop_price=D("3"),
                limit_price=D("3.25"),
                trail_amount=D("1"),
            ),
        ),
        (
            "self.buy(size=2, valid=dt.datetime(2026, 3, 3, 12))",
            _terms(OrderType.MARKET, valid_until=datetime(2026, 3, 3, 12, tzinfo=UTC)),
        ),
        (
            "self.buy(size=2, valid=dt.datetime(2026, 3, 3, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))))",
            _terms(OrderType.MARKET, valid_until=datetime(2026, 3, 3, 10, tzinfo=UTC)),
        ),
        (
            "self.buy(size=2, valid=dt.date(2026, 3, 3))",
            _terms(OrderType.MARKET, valid_until=datetime(2026, 3, 3, 23, 59, 59, 999990, tzinfo=UTC)),
        ),
        (
            "self.buy(size=2, valid=dt.timedelta(hours=2))",
            _terms(OrderType.MARKET, valid_until=BAR_END + timedelta(hours=2)),
        ),
        (
            "self.buy(size=2, valid=bt.Order.DAY)",
            _terms(OrderType.MARKET, valid_until=datetime(2026, 3, 2, 23, 59, 59, 999990, tzinfo=UTC)),
        ),
        (
            "self.buy(size=2, valid=0)",
            _terms(OrderType.MARKET, valid_until=datetime(2026, 3, 2, 23, 59, 59, 999990, tzinfo=UTC)),
        ),
        ("self.order_target_size(target=2)", _terms(OrderType.MARKET)),
        ("self.order_target_value(target=4.5)", _terms(OrderType.MARKET, quantity="1.5")),
        ("self.order_target_percent(target=0.5)", _terms(OrderType.MARKET, quantity="1666.6666666666667")),
        ("self.buy(size=__import__('decimal').Decimal(2))", _terms(OrderType.MARKET, quantity="2.0")),
        ("self.buy(size=__import__('numpy').float64(0.1))", _terms(OrderType.MARKET, quantity="0.1")),
        ("self.buy(size=__import__('numpy').int64(2))", _terms(OrderType.MARKET)),
    ],
)
async def test_an_order_reaches_the_service(
    talk: Talk, strategy: Strategies, order: str, terms: OrderTerms
) -> None:
    await talk.ready(strategy(HEARING.format(order=order)), feed([1, 2]))
    request = only_order(await talk.bar(3))
    assert request.terms == terms
    assert (request.ref, request.oco_ref, request.parent_ref) == (1, None, None)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("self.buy(size=float('nan'))", "its size is nan"),
        ("self.buy(size=2, exectype=bt.Order.Limit, price=float('inf'))", "its limit price is inf"),
        ("self.buy(size=2, exectype=bt.Order.Limit, price=-1)", "its limit price is -1"),
        ("self.buy(size=2, exectype=bt.Order.StopTrail)", "a trailing stop needs trailamount or trailpercent"),
        ("self.buy(size=2, exectype=bt.Order.Close)", "an order of the type Close cannot be sent"),
    ],
)
async def test_an_order_that_no_venue_knows_is_rejected(
    talk: Talk, strategy: Strategies, order: str, reason: str
) -> None:
    body = HEARING.format(order=order).replace("done.size, done.price, done.remsize, round(done.comm, 9)", "0")
    await talk.ready(strategy(body), feed([1, 2]))
    answer = await talk.bar(3)
    assert not answer.orders
    assert [one[1] for one in noted(answer)] == ["Rejected"]
    assert talk.said == [f"order 1 is not sent: {reason}"]


async def test_an_order_lives_as_backtrader_tells_it(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(HEARING.format(order="self.buy(size=2)")), feed([1, 2]))
    assert noted(await talk.bar(3)) == []
    assert noted(await talk.update(update(1, OrderStatus.SUBMITTED))) == [[1, "Submitted", 0, 0.0, 2, 0.0]]
    assert noted(await talk.update(update(1, OrderStatus.ACCEPTED))) == [[1, "Accepted", 0, 0.0, 2, 0.0]]
    first = fill(1, "0.5", "3", "0.5", OrderStatus.PARTIALLY_FILLED, fees=D("0.01"))
    assert noted(await talk.update(first)) == [
        [1, "Partial", 0.5, 3.0, 1.5, 0.01],
        ["trade", True, False, 0.5, 3.0, 0.0, -0.01],
    ]
    rest = fill(1, "1.5", "5", "2", price=D("4.5"), fees=D("0.05"))
    assert noted(await talk.update(rest)) == [[1, "Completed", 2.0, 4.5, 0.0, 0.05]]


async def test_a_fill_at_once_tells_all_steps(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(HEARING.format(order="self.buy(size=2)")), feed([1, 2]))
    await talk.bar(3)
    found = noted(await talk.update(fill(1, "2", "3", "2")))
    assert [one[1] for one in found] == ["Submitted", "Accepted", "Completed", True]


@pytest.mark.parametrize(
    ("told", "statuses"),
    [
        (update(1, OrderStatus.CANCELLED), ["Submitted", "Accepted", "Canceled"]),
        (update(1, OrderStatus.REJECTED), ["Submitted", "Rejected"]),
        (update(1, OrderStatus.REJECTED, lacks_cash=True), ["Submitted", "Margin"]),
        (update(1, OrderStatus.LOST), ["Submitted", "Rejected"]),
        (update(1, OrderStatus.UNKNOWN), []),
        (update(1, OrderStatus.INTENT), []),
        (update(1, OrderStatus.CANCELLED, at=T0 + timedelta(days=3)), ["Submitted", "Accepted", "Expired"]),
    ],
)
async def test_how_an_order_ends(talk: Talk, strategy: Strategies, told: object, statuses: list[str]) -> None:
    order = "self.buy(size=2, valid=dt.timedelta(days=2))"
    await talk.ready(strategy(HEARING.format(order=order)), feed([1, 2]))
    await talk.bar(3)
    assert [one[1] for one in noted(await talk.update(told))] == statuses  # type: ignore[arg-type]


async def test_what_is_told_twice_is_notified_once(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(HEARING.format(order="self.buy(size=2)")), feed([1, 2]))
    await talk.bar(3)
    half = fill(1, "1", "3", "1", OrderStatus.PARTIALLY_FILLED)
    assert [one[1] for one in noted(await talk.update(half))] == ["Submitted", "Accepted", "Partial", True]
    assert noted(await talk.update(half, update(1, OrderStatus.ACCEPTED), half)) == []


async def test_a_fill_that_was_told_to_nobody_comes_with_the_next(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(HEARING.format(order="self.buy(size=3)")), feed([1, 2]))
    await talk.bar(3)
    told = fill(1, "1", "6", "3", price=D("4"))
    assert noted(await talk.update(told))[2] == [1, "Completed", 3.0, 4.0, 0.0, 0.0]


async def test_a_fill_after_the_cancellation_still_counts(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(HEARING.format(order="self.buy(size=2)")), feed([1, 2]))
    await talk.bar(3)
    await talk.update(update(1, OrderStatus.CANCELLED))
    found = noted(await talk.update(fill(1, "0.5", "3", "0.5", OrderStatus.CANCELLED)))
    assert found == [[1, "Canceled", 0.5, 3.0, 1.5, 0.0], ["trade", True, False, 0.5, 3.0, 0.0, 0.0]]


async def test_a_partly_filled_order_that_is_cancelled_tells_both(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(HEARING.format(order="self.buy(size=2)")), feed([1, 2]))
    await talk.bar(3)
    found = noted(await talk.update(fill(1, "0.5", "3", "0.5", OrderStatus.CANCELLED)))
    assert [one[1] for one in found] == ["Submitted", "Accepted", "Partial", True, "Canceled"]


async def test_orders_made_while_being_notified_are_in_that_answer(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            if len(self.data) == 3:
                self.buy(size=2)
        def notify_order(self, order):
            if order.status == order.Completed and order.isbuy():
                self.sell(size=1, exectype=bt.Order.Stop, price=2)
                self.cancel(order)
    """
    await talk.ready(strategy(body), feed([1, 2]))
    await talk.bar(3)
    answer = await talk.update(fill(1, "2", "3", "2"))
    assert only_order(answer).terms.type is OrderType.STOP
    assert only_order(answer).ref == 2
    assert answer.cancels == ()


SELLING_ALL = """
    def next(self):
        if not self.position:
            self.buy(size=0.3)
        elif self.position.size == 0.3:
            self.close()
        self.note(self.position.size, self.position.price)
    def notify_trade(self, trade):
        self.note("trade", trade.isopen, trade.isclosed, trade.size, round(trade.pnl, 9), round(trade.pnlcomm, 9))
"""


async def test_fractions_leave_nothing_behind(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(SELLING_ALL), feed([1, 2]))
    await talk.bar(3)
    bought = [
        fill(1, "0.1", "10", "0.1", OrderStatus.PARTIALLY_FILLED, fees=D("0.1")),
        fill(1, "0.2", "10", "0.3", fees=D("0.3")),
    ]
    await talk.update(*bought)
    answer = await talk.bar(3)
    assert only_order(answer).terms.quantity == D("0.3")
    sold = [
        fill(2, "0.2", "12", "0.2", OrderStatus.PARTIALLY_FILLED, fees=D("0.2")),
        fill(2, "0.1", "12", "0.3", fees=D("0.3")),
    ]
    assert noted(await talk.update(*sold)) == [["trade", False, True, 0.0, 0.6, 0.0]]
    assert noted(await talk.bar(3))[-1] == [0.0, 0.0]


async def test_an_order_through_zero_ends_a_trade_and_begins_the_next(talk: Talk, strategy: Strategies) -> None:
    body = (
        HEARING.format(order="self.buy(size=2)")
        + """
        if len(self.data) == 4:
            self.sell(size=5)
"""
    )
    await talk.ready(strategy(_joined(body)), feed([1, 2]))
    await talk.bar(3)
    await talk.update(fill(1, "2", "10", "2", fees=D("0.2")))
    await talk.bar(3)
    found = noted(await talk.update(fill(2, "5", "11", "5", fees=D("0.5"))))
    assert found[-2:] == [
        ["trade", False, True, 0.0, 10.0, 2.0, 1.6],
        ["trade", True, False, -3.0, 11.0, 0.0, -0.3],
    ]


def _joined(body: str) -> str:
    """Put what stands at the end of a body into its ``next``."""
    head, tail = body.rsplit("\n        if len(self.data) == 4", 1)
    return head.replace("    def notify_order", f"        if len(self.data) == 4{tail}    def notify_order", 1)


async def test_groups_and_brackets_are_tied_by_refs(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            first = self.buy(size=1, exectype=bt.Order.Limit, price=2)
            self.buy(size=1, exectype=bt.Order.Stop, price=4, oco=first)
            self.buy_bracket(size=2, price=2.5, stopprice=2, limitprice=4)
    """
    await talk.ready(strategy(body), feed([1, 2]))
    requests = (await talk.bar(3)).orders
    assert [(one.ref, one.oco_ref, one.parent_ref) for one in requests] == [
        (1, None, None),
        (2, 1, None),
        (3, None, None),
        (4, None, 3),
        (5, None, 3),
    ]
    assert [one.terms.type for one in requests[2:]] == [OrderType.LIMIT, OrderType.STOP, OrderType.LIMIT]
    assert [one.terms.side for one in requests[2:]] == [Side.BUY, Side.SELL, Side.SELL]


TRANSMITTING = """
    def next(self):
        if len(self.data) == 3:
            self.parent = self.buy(size=1, transmit=False)
            self.child = self.sell(size=1, exectype=bt.Order.Stop, price=2, parent=self.parent, transmit=False)
        if len(self.data) == 4:
            {then}
    def notify_order(self, order):
        self.note(order.ref, order.getstatusname())
"""


async def test_what_is_not_transmitted_waits(talk: Talk, strategy: Strategies) -> None:
    then = "self.sell(size=1, exectype=bt.Order.Limit, price=5, parent=self.parent)"
    await talk.ready(strategy(TRANSMITTING.format(then=then)), feed([1, 2]))
    assert (await talk.bar(3)).orders == ()
    assert [(one.ref, one.parent_ref) for one in (await talk.bar(4)).orders] == [(1, None), (2, 1), (3, 1)]


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("self.cancel(self.parent)", [[1, "Canceled"], [2, "Canceled"]]),
        ("self.cancel(self.child)", [[2, "Canceled"]]),
        (
            "self.sell(size=1, exectype=bt.Order.Limit, price=float('nan'), parent=self.parent)",
            [[3, "Rejected"], [1, "Rejected"], [2, "Rejected"]],
        ),
    ],
)
async def test_what_was_never_sent_ends_here(
    talk: Talk, strategy: Strategies, then: str, told: list[object]
) -> None:
    await talk.ready(strategy(TRANSMITTING.format(then=then)), feed([1, 2]))
    await talk.bar(3)
    answer = await talk.bar(4)
    assert (answer.orders, answer.cancels) == ((), ())
    assert noted(answer) == told


async def test_a_cancellation_is_asked_for_once_and_waits_for_the_service(
    talk: Talk, strategy: Strategies
) -> None:
    body = """
        def next(self):
            if len(self.data) == 3:
                self.order = self.buy(size=1, exectype=bt.Order.Limit, price=1)
            elif self.order.alive():
                self.cancel(self.order)
                self.cancel(self.order)
            self.note(self.order.alive(), [one.ref for one in self.broker.get_orders_open()])
    """
    await talk.ready(strategy(body), feed([1, 2]))
    await talk.bar(3)
    asked = await talk.bar(4)
    assert (asked.cancels, noted(asked)) == ((1,), [[True, [1]]])
    await talk.update(update(1, OrderStatus.CANCELLED))
    ended = await talk.bar(5)
    assert (ended.cancels, noted(ended)) == ((), [[False, []]])


async def test_cash_and_value_are_what_the_service_says(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            if len(self.data) == 3:
                self.buy(size=2)
            self.look()
        def notify_order(self, order):
            if order.status == order.Completed:
                self.look()
        def look(self):
            broker = self.broker
            self.note(broker.getcash(), broker.get_value(), broker.getvalue([self.data]), self.position.size)
    """
    await talk.ready(strategy(body), feed([1, 2]))
    assert noted(await talk.bar(3, cash=D(100), value=D(101))) == [[100.0, 101.0, 0.0, 0]]
    assert noted(await talk.update(fill(1, "2", "3", "2"), cash=D(94))) == [[94.0, 100.0, 6.0, 2.0]]
    assert noted(await talk.bar(4, cash=D(94), value=D(102))) == [[94.0, 102.0, 8.0, 2.0]]


async def test_fees_are_forecast_as_told(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.note(self.broker.getcommissioninfo(self.data).getcommission(2, 50.0))
    """
    await talk.ready(strategy(body), feed([1, 2]), fee_fraction=D("0.001"))
    assert noted(await talk.bar(3)) == [[0.1]]


async def test_what_is_traded_on_a_resampled_data_is_the_symbols(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            if len(self.data) == 6:
                self.buy(data=self.data1, size=2)
        def notify_trade(self, trade):
            self.note(trade.getdataname(), trade.size, self.getposition(self.data0).size)
    """
    await talk.ready(strategy(body), feed([1, 2, 3, 4, 5], resampled=(Timeframe.M5,)))
    assert only_order(await talk.bar(6)).terms.symbol == "BTC"
    assert noted(await talk.update(fill(1, "2", "3", "2"))) == [["BTC", 2.0, 2.0]]


async def test_an_update_of_a_strangers_order_ends_the_bot(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(HEARING.format(order="None")), feed([1, 2]))
    await talk.bar(3)
    await talk.send_updates(update(7, OrderStatus.FILLED))
    assert (await talk.failure()).error == "an update of order 7, which this bot does not have"


async def test_analyzers_count_trades(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(SELLING_ALL), feed([1, 2]))
    await talk.bar(3)
    await talk.update(fill(1, "0.3", "10", "0.3"))
    await talk.bar(3)
    await talk.update(fill(2, "0.3", "20", "0.3"))
    await talk.bar(3)
    analysis = (await talk.stop()).analysis
    assert analysis["tradeanalyzer"]["total"] == {"total": 1, "open": 0, "closed": 1}
    assert analysis["tradeanalyzer"]["pnl"]["net"]["total"] == pytest.approx(3.0)


FLOODING = """
    def next(self):
        for _ in range(3_000):
            self.buy(size=1)
    def notify_order(self, order):
        self.told = getattr(self, "told", 0) + (order.status == order.Rejected)
    def save_state(self):
        return {"told": self.told}
"""


async def test_of_a_flood_of_orders_the_service_gets_as_many_as_a_bar_has(
    talk: Talk, strategy: Strategies
) -> None:
    await talk.ready(strategy(FLOODING), feed([1, 2]), most_orders=20)
    for bar in (1, 2):
        answer = await talk.bar(3)
        assert (len(answer.orders), answer.refused) == (20, 2_980)
        assert answer.state == {"told": 2_980 * bar}, "the strategy hears of each"


async def test_a_bracket_for_which_there_is_no_room_is_refused_whole(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.buy(size=1)
            self.buy_bracket(size=2, price=2.5, stopprice=2, limitprice=4)
            self.buy(size=1)
        def notify_order(self, order):
            self.note(order.ref, order.getstatusname())
    """
    await talk.ready(strategy(body), feed([1, 2]), most_orders=3)
    answer = await talk.bar(3)
    assert [one.ref for one in answer.orders] == [1, 5]
    assert answer.refused == 3
    assert noted(answer) == [[2, "Rejected"], [3, "Rejected"], [4, "Rejected"]]


async def test_what_a_strategy_makes_of_news_counts_with_the_bar(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.order = self.buy(size=1)
        def notify_order(self, order):
            if not order.alive():
                self.order = self.buy(size=1)
    """
    await talk.ready(strategy(body), feed([1, 2]), most_orders=2)
    await talk.bar(3)
    assert only_order(await talk.update(update(1, OrderStatus.REJECTED))).ref == 2
    answer = await talk.update(update(2, OrderStatus.REJECTED))
    assert (answer.orders, answer.refused) == ((), 1)
    later = await talk.bar(3)
    assert [one.ref for one in later.orders] == [4, 5], "what was refused is told with what comes next"


@pytest.mark.parametrize("size", ["1", "float('nan')"])
async def test_who_answers_each_refusal_with_one_more_order_comes_to_an_end(
    talk: Talk, strategy: Strategies, size: str
) -> None:
    body = f"""
        def next(self):
            self.note("bar")
            if len(self.data) == 3:
                self.buy(size={size})
        def notify_order(self, order):
            self.buy(size={size})
    """
    await talk.ready(strategy(body), feed([1, 2]), most_orders=0)
    for _ in range(3):
        assert noted(await talk.bar(3)) == [["bar"]]
