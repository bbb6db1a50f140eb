"""The paper venue's durable books: orders taken and cancelled, bars matched, each in one transaction.

Whoever changes an account has its row locked, in the order of ids, so that what was read of it holds until the
commit. Bars lock their marks first; nothing locks a mark after an account.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict, NotFound, shown
from atf.storage.database import Database
from atf.storage.paper_matching import match_bars, take_marks
from atf.storage.paper_rows import (
    FILL_COLUMNS,
    ORDER_COLUMNS,
    RESTING,
    fill_of,
    order_of,
    rules_of,
    rules_values,
    told,
)
from atf.storage.paper_writing import ChangedAccount, add_orders, store_changes
from atf.trading.broker import OpenState, OrderRejected, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId
from atf.trading.paper.acceptance import accept, malformed
from atf.trading.paper.account import AccountRules, PaperBook, PaperOrder
from atf.trading.paper.bar import PaperBar, bar_of
from atf.trading.paper.marks import SeriesBars, finest
from atf.trading.paper.store import AccountNews, Matched, Submission, Taken
from atf.trading.paper.working_book import cancel

_PIECE: Final = "piece"
"""What marks have instead of a timeframe for parts of bars."""
_OPEN: Final = text(
    """
    INSERT INTO paper_accounts AS a (venue, name, starting_cash, cash, fee_fraction, slippage_fraction,
        latency_seconds, partial_fill_fraction, allow_short, quantity_step, price_step, minimum_quantity,
        minimum_value)
    VALUES (:venue, :name, :cash, :cash, :fee_fraction, :slippage_fraction, :latency_seconds,
        :partial_fill_fraction, :allow_short, :quantity_step, :price_step, :minimum_quantity, :minimum_value)
    ON CONFLICT (name) DO UPDATE SET fee_fraction = EXCLUDED.fee_fraction,
        slippage_fraction = EXCLUDED.slippage_fraction, latency_seconds = EXCLUDED.latency_seconds,
        partial_fill_fraction = EXCLUDED.partial_fill_fraction, allow_short = EXCLUDED.allow_short,
        quantity_step = EXCLUDED.quantity_step, price_step = EXCLUDED.price_step,
        minimum_quantity = EXCLUDED.minimum_quantity, minimum_value = EXCLUDED.minimum_value, updated_at = now()
    WHERE a.venue = EXCLUDED.venue
    RETURNING id
    """
)
_LOCK: Final = text(
    "SELECT * FROM paper_accounts WHERE venue = :venue AND name = ANY(CAST(:names AS text[])) "
    "ORDER BY id FOR NO KEY UPDATE"
)
_KNOWN: Final = text(
    f"""
    SELECT {ORDER_COLUMNS}
    FROM unnest(CAST(:ids AS int[]), CAST(:names AS text[])) AS k(account_id, name)
    JOIN paper_orders o ON o.account_id = k.account_id AND o.client_order_id = k.name
    UNION
    SELECT {ORDER_COLUMNS}
    FROM unnest(CAST(:group_ids AS int[]), CAST(:groups AS text[])) AS k(account_id, name)
    JOIN paper_orders o ON o.account_id = k.account_id AND o.oco_group = k.name
    """
)
_ORDER: Final = text(
    f"""
    SELECT {ORDER_COLUMNS} FROM paper_orders o JOIN paper_accounts a ON a.id = o.account_id
    WHERE a.venue = :venue AND a.name = :name AND o.client_order_id = :client_order_id
    """
)
_RESTING: Final = text(
    f"SELECT {ORDER_COLUMNS} FROM paper_orders o WHERE account_id = :id AND {RESTING} ORDER BY id"
)
_FILLS: Final = text(
    f"""
    SELECT {FILL_COLUMNS} FROM paper_fills f JOIN paper_accounts a ON a.id = f.account_id
    WHERE a.venue = :venue AND a.name = :name AND f.client_order_id = :client_order_id ORDER BY f.id
    """
)
# One statement, so that all of it is of one instant.
_STATE: Final = text(
    f"""
    SELECT a.cash, p.symbols, p.held, {ORDER_COLUMNS}
    FROM paper_accounts a
    CROSS JOIN LATERAL (SELECT array_agg(symbol ORDER BY symbol) AS symbols,
                               array_agg(quantity ORDER BY symbol) AS held
                        FROM paper_positions WHERE account_id = a.id AND quantity <> 0) p
    LEFT JOIN paper_orders o ON o.account_id = a.id AND {RESTING}
    WHERE a.venue = :venue AND a.name = :name ORDER BY o.id
    """
)
_FILLS_SINCE: Final = text(
    f"""
    SELECT a.name AS account, {FILL_COLUMNS} FROM paper_fills f JOIN paper_accounts a ON a.id = f.account_id
    WHERE a.venue = :venue AND a.name = ANY(CAST(:names AS text[])) AND f.symbol = ANY(CAST(:symbols AS text[]))
      AND f.filled_at >= :since ORDER BY f.id
    """
)
# Whatever its symbol: a leg of another symbol is cancelled by what was filled in this one.
_ORDERS_SINCE: Final = text(
    f"""
    SELECT a.name AS account, {ORDER_COLUMNS} FROM paper_orders o JOIN paper_accounts a ON a.id = o.account_id
    WHERE a.venue = :venue AND a.name = ANY(CAST(:names AS text[])) AND o.changed_at >= :since ORDER BY o.id
    """
)


class PostgresPaperStore:
    """The books of one venue; accounts of different venues see different bars."""

    def __init__(self, database: Database, venue: str = "paper") -> None:
        self._database = database
        self._venue = venue

    async def open_account(self, name: str, rules: AccountRules, cash: Decimal) -> None:
        """Make an account with its first cash, or give one that is there new rules.

        Errors: Conflict if another venue has an account of this name.
        """
        values = {"venue": self._venue, "name": name, "cash": cash, **rules_values(rules)}
        async with self._database.transaction() as connection:
            opened = (await connection.execute(_OPEN, values)).scalar_one_or_none()
        if opened is None:
            raise Conflict(f"another venue has a paper account of the name {shown(name)}")

    async def submit(self, submissions: Sequence[Submission]) -> Sequence[Taken | Exception]:
        """Take orders of any accounts; a name that an account has already answers with its first order."""
        written = [one for one in submissions if malformed(one.order) is None]
        async with self._database.transaction() as connection:
            accounts = await self._locked(connection, {one.account for one in written})
            desk = _Desk(accounts, await _known(connection, accounts, written))
            for one in written:
                desk.take(one)
            if desk.new:
                desk.number(await add_orders(connection, desk.new))
        return [desk.answer(one) for one in submissions]

    async def cancel(
        self, account: str, client_order_id: ClientOrderId, at: datetime
    ) -> tuple[VenueOrder, AccountNews]:
        """Cancel an order that is not over; return how it stands, and all that changed with it.

        Errors: NotFound if the account has no such order.
        """
        async with self._database.transaction() as connection:
            rows = await self._locked(connection, {account})
            order = await self._order(connection, account, client_order_id)
            if order is None:
                raise NotFound(f"the paper account {shown(account)} has no order {shown(client_order_id)}")
            row = rows[account]
            resting = tuple(order_of(one) for one in await connection.execute(_RESTING, {"id": row.id}))
            changed = ChangedAccount(row.id, account, PaperBook(row.cash, orders=resting))
            changed.take(cancel(changed.book, client_order_id, at), at)
            await store_changes(connection, [changed])
        after, _ = changed.orders.get(client_order_id, (order, at))
        return told(after), changed.news

    async def order(self, account: str, client_order_id: ClientOrderId) -> VenueOrder | None:
        """Return an order, None if the account has none of that name."""
        async with self._database.transaction() as connection:
            found = await self._order(connection, account, client_order_id)
        return None if found is None else told(found)

    async def fills_of(self, account: str, client_order_id: ClientOrderId) -> Sequence[Fill]:
        """Return the fills of an order, oldest first."""
        values = {"venue": self._venue, "name": account, "client_order_id": client_order_id}
        async with self._database.transaction() as connection:
            return [fill_of(row) for row in await connection.execute(_FILLS, values)]

    async def open_state(self, account: str, at: datetime) -> OpenState:
        """Return what an account holds, all of one instant. Errors: NotFound."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_STATE, {"venue": self._venue, "name": account})).all()
        if not rows:
            raise NotFound(f"there is no paper account {shown(account)}")
        first = rows[0]
        positions = dict(zip(first.symbols or (), first.held or (), strict=True))
        return OpenState(positions, [told(order_of(row)) for row in rows if row.id is not None], first.cash, at)

    async def match(self, bars: SeriesBars) -> Matched:
        """Match closed bars with every account that has something resting in their symbols; each bar once."""
        made = [(str(series.timeframe), bar_of(series, *bars[series])) for series in finest(bars)]
        return await self._match([(timeframe, bar) for timeframe, bar in made if bar is not None])

    async def match_pieces(self, pieces: Sequence[PaperBar]) -> Matched:
        """Match parts of bars in the same way, one of a symbol at most; they count as the finest timeframe."""
        return await self._match([(_PIECE, one) for one in sorted(pieces, key=lambda one: one.symbol)])

    async def news_since(
        self, accounts: Collection[str], symbols: Collection[str], since: datetime
    ) -> Sequence[AccountNews]:
        """Return what happened to accounts from an instant on, by the market's time."""
        values = {"venue": self._venue, "names": list(accounts), "symbols": list(symbols), "since": since}
        async with self._database.transaction() as connection:
            fills = (await connection.execute(_FILLS_SINCE, values)).all()
            orders = (await connection.execute(_ORDERS_SINCE, values)).all()
        return [
            AccountNews(
                name,
                [fill_of(row) for row in fills if row.account == name],
                [told(order_of(row)) for row in orders if row.account == name],
            )
            for name in sorted({row.account for row in (*fills, *orders)})
        ]

    async def _match(self, bars: Sequence[tuple[str, PaperBar]]) -> Matched:
        if not bars:
            return Matched()
        async with self._database.transaction() as connection:
            fresh = await take_marks(connection, self._venue, bars)
            changed = await match_bars(connection, self._venue, [bar for _, bar in bars if bar.symbol in fresh])
            await store_changes(connection, changed)
        known = frozenset(bar.symbol for _, bar in bars) - fresh
        return Matched([account.news for account in changed if account.orders], known)

    async def _locked(self, connection: AsyncConnection, names: Collection[str]) -> dict[str, Row[Any]]:
        values = {"venue": self._venue, "names": sorted(names)}
        return {row.name: row for row in await connection.execute(_LOCK, values)}

    async def _order(
        self, connection: AsyncConnection, account: str, client_order_id: ClientOrderId
    ) -> PaperOrder | None:
        values = {"venue": self._venue, "name": account, "client_order_id": client_order_id}
        row = (await connection.execute(_ORDER, values)).one_or_none()
        return None if row is None else order_of(row)


class _Desk:
    """Orders that came together, taken one after the other; ``new``: those to be stored, with their accounts."""

    def __init__(
        self, accounts: Mapping[str, Row[Any]], known: Mapping[int, dict[ClientOrderId, PaperOrder]]
    ) -> None:
        self._accounts = accounts
        self._known = known
        self._rules = {name: rules_of(row) for name, row in accounts.items()}
        self._told: set[tuple[int, str]] = set()
        self.new: list[tuple[int, PaperOrder]] = []

    def take(self, one: Submission) -> None:
        row = self._accounts.get(one.account)
        if row is None or one.order.client_order_id in self._known[row.id]:
            return
        known = self._known[row.id]
        order = accept(one.order, self._rules[one.account], known, 0, one.at)
        known[order.client_order_id] = order
        self.new.append((row.id, order))

    def number(self, numbers: Mapping[tuple[int, str], int]) -> None:
        """Give the new orders the numbers that the database has for them."""
        for (id_, name), number in numbers.items():
            known = self._known[id_]
            known[ClientOrderId(name)] = replace(known[ClientOrderId(name)], number=number)
            self._told.add((id_, name))

    def answer(self, one: Submission) -> Taken | Exception:
        """Answer a submission; of two with one name in one batch the first is the new one."""
        problem = malformed(one.order)
        if problem is not None:
            return OrderRejected(problem)
        row = self._accounts.get(one.account)
        if row is None:
            return NotFound(f"there is no paper account {shown(one.account)}")
        key = (row.id, one.order.client_order_id)
        is_new = key in self._told
        self._told.discard(key)
        return Taken(told(self._known[row.id][one.order.client_order_id]), is_new)


async def _known(
    connection: AsyncConnection, accounts: Mapping[str, Row[Any]], submissions: Sequence[Submission]
) -> dict[int, dict[ClientOrderId, PaperOrder]]:
    """Return of each account the orders that the new ones name: themselves, their parents, their groups."""
    names: set[tuple[int, str]] = set()
    groups: set[tuple[int, str]] = set()
    for one in submissions:
        row = accounts.get(one.account)
        if row is not None:
            names |= {(row.id, name) for name in (one.order.client_order_id, one.order.parent) if name}
            groups |= {(row.id, one.order.oco_group)} if one.order.oco_group else set()
    values = {
        "ids": [id_ for id_, _ in names],
        "names": [name for _, name in names],
        "group_ids": [id_ for id_, _ in groups],
        "groups": [group for _, group in groups],
    }
    known: dict[int, dict[ClientOrderId, PaperOrder]] = {row.id: {} for row in accounts.values()}
    for row in await connection.execute(_KNOWN, values):
        known[row.account_id][ClientOrderId(row.client_order_id)] = order_of(row)
    return known
