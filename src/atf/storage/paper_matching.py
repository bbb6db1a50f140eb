"""Bars at work on all accounts that have something resting in their symbols: SQL around the pure rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.storage.paper_rows import ORDER_COLUMNS, RESTING, order_of, rules_of
from atf.storage.paper_writing import ChangedAccount
from atf.trading.paper.account import PaperAccount, PaperBook, PaperOrder
from atf.trading.paper.bar import PaperBar
from atf.trading.paper.matching import match

# As in ``trading.paper.marks.is_new``; a bar that is being matched elsewhere is waited for, and then is not new.
_TAKE_MARKS: Final = text(
    """
    INSERT INTO paper_marks AS m (venue, symbol, timeframe, open_time, closes_at)
    SELECT :venue, k.symbol, k.timeframe, k.open_time, k.closes_at
    FROM unnest(CAST(:symbols AS text[]), CAST(:timeframes AS text[]), CAST(:open_times AS timestamptz[]),
                CAST(:closes AS timestamptz[])) AS k(symbol, timeframe, open_time, closes_at)
    WHERE NOT EXISTS (SELECT FROM paper_marks o WHERE o.venue = :venue AND o.symbol = k.symbol
                      AND o.timeframe <> k.timeframe AND o.closes_at > k.open_time)
    ORDER BY k.symbol
    ON CONFLICT (venue, symbol, timeframe) DO UPDATE
        SET open_time = EXCLUDED.open_time, closes_at = EXCLUDED.closes_at
        WHERE EXCLUDED.open_time > m.open_time
    RETURNING m.symbol
    """
)
_LOCK_CONCERNED: Final = text(
    f"""
    SELECT * FROM paper_accounts WHERE venue = :venue AND id = ANY(ARRAY(
        SELECT DISTINCT o.account_id FROM paper_orders o
        WHERE o.symbol = ANY(CAST(:symbols AS text[])) AND {RESTING}))
    ORDER BY id FOR NO KEY UPDATE
    """
)
# Of all symbols: what is filled in one wakes and cancels orders of others.
_RESTING: Final = text(
    f"SELECT {ORDER_COLUMNS} FROM paper_orders o "
    f"WHERE o.account_id = ANY(CAST(:ids AS int[])) AND {RESTING} ORDER BY o.id"
)
_POSITIONS: Final = text(
    "SELECT account_id, symbol, quantity FROM paper_positions "
    "WHERE account_id = ANY(CAST(:ids AS int[])) AND symbol = ANY(CAST(:symbols AS text[]))"
)


async def take_marks(
    connection: AsyncConnection, venue: str, bars: Sequence[tuple[str, PaperBar]]
) -> frozenset[str]:
    """Note bars, with their timeframes, as matched; return the symbols of those that were not yet."""
    values = {
        "venue": venue,
        "symbols": [bar.symbol for _, bar in bars],
        "timeframes": [timeframe for timeframe, _ in bars],
        "open_times": [bar.opens_at for _, bar in bars],
        "closes": [bar.closes_at for _, bar in bars],
    }
    return frozenset(row.symbol for row in await connection.execute(_TAKE_MARKS, values))


async def match_bars(
    connection: AsyncConnection, venue: str, bars: Sequence[PaperBar]
) -> Sequence[ChangedAccount]:
    """Lock the accounts that bars concern, one a symbol, and return what the bars make of them."""
    if not bars:
        return []
    symbols = [bar.symbol for bar in bars]
    rows = (await connection.execute(_LOCK_CONCERNED, {"venue": venue, "symbols": symbols})).all()
    if not rows:
        return []
    ids = [row.id for row in rows]
    orders: defaultdict[int, list[PaperOrder]] = defaultdict(list)
    for found in await connection.execute(_RESTING, {"ids": ids}):
        orders[found.account_id].append(order_of(found))
    positions: defaultdict[int, dict[str, Decimal]] = defaultdict(dict)
    for found in await connection.execute(_POSITIONS, {"ids": ids, "symbols": symbols}):
        positions[found.account_id][found.symbol] = found.quantity
    return [_matched(row, PaperBook(row.cash, positions[row.id], tuple(orders[row.id])), bars) for row in rows]


def _matched(row: Row[Any], book: PaperBook, bars: Sequence[PaperBar]) -> ChangedAccount:
    rules, changed = rules_of(row), ChangedAccount(row.id, row.name, book)
    for bar in bars:
        changed.take(match(PaperAccount(row.name, rules, changed.book), bar), bar.closes_at)
    return changed
