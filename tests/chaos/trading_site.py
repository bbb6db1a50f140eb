"""A home with bots and a market that a test moves, and a venue that outlives whatever is killed."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from atf.market.bars import Series, Timeframe
from atf.testing.processes import kill
from atf.testing.venue import LocalVenue
from atf.testing.waiting import PATIENCE_SECONDS
from tests.chaos.site import Site

BEGIN: Final = datetime(2026, 1, 5, tzinfo=UTC)
DAY: Final = timedelta(days=1)
SERIES: Final = Series("AAPL", Timeframe.D1)
WARM_UP: Final = 5
STRATEGY: Final = '''
import backtrader as bt

class EveryBar(bt.Strategy):
    """Buys at one bar and sells at the next, whatever became of the order before."""

    def __init__(self):
        self.count = 0

    def next(self):
        self.count += 1
        if self.count % 2:
            self.buy(size=3)
        else:
            self.sell(size=3)

    def save_state(self):
        return {"count": self.count}

    def load_state(self, state):
        self.count = state["count"]
'''


def candle_at(day: int) -> tuple[float, float, float, float, float]:
    """The bar of a day; no two have the same prices."""
    base = 100 + random.Random(day).random() * 10
    return (base, base + 3, base - 2, base + 1, 5000.0)


class TradingSite(Site):
    """Bots that trade every bar at a local venue."""

    def settle(self, venue: LocalVenue, bots: int, days: int) -> None:
        """Store the bots and the market's bars; time stands before the first of them."""
        self.venue = venue
        self._install_plugin(self.home / "plugin")
        folder = self.home / "strategies"
        folder.mkdir()
        (folder / "every_bar.py").write_text(STRATEGY, "utf-8")
        config = {
            "symbol": SERIES.symbol,
            "timeframe": "1d",
            "history_bars": WARM_UP,
            "strategy": {"name": "every_bar.py:EveryBar"},
            "broker": {"type": "local-venue", "url": venue.url},
            "capital": 100_000,
        }
        self.query(
            "INSERT INTO trading_bots (user_id, name, config, desired_state) "
            "SELECT 1, 'bot ' || n, CAST(%(config)s AS jsonb), 'running' FROM generate_series(1, %(bots)s) n",
            config=json.dumps(config),
            bots=bots,
        )
        for day in range(days):
            values = dict(zip(("o", "h", "l", "c", "v"), candle_at(day), strict=True))
            self.query(
                "INSERT INTO market_bars (symbol, timeframe, open_time, open, high, low, close, volume) "
                "VALUES ('AAPL', '1d', %(at)s, %(o)s, %(h)s, %(l)s, %(c)s, %(v)s)",
                at=BEGIN + day * DAY,
                **values,
            )
        self.query(
            "INSERT INTO market_clock (timeframe, begins_at, now_at, ends_at) "
            "VALUES ('1d', %(at)s, %(at)s, %(end)s)",
            at=BEGIN + WARM_UP * DAY,
            end=BEGIN + days * DAY,
        )

    def _install_plugin(self, folder: Path) -> None:
        info = folder / "atf_chaos_venue-1.dist-info"
        info.mkdir(parents=True)
        points = "[atf.brokers]\nlocal-venue = atf.testing.venue_broker:broker_type\n"
        (info / "entry_points.txt").write_text(points)
        (info / "METADATA").write_text(dedent("Metadata-Version: 2.1\nName: atf-chaos-venue\nVersion: 1\n"))
        path = [str(folder), self.full_environment.get("PYTHONPATH", "")]
        self.environment["PYTHONPATH"] = ":".join(filter(None, path))

    def begin(self, pause_at: str | None = None) -> subprocess.Popen[bytes]:
        """Start the service; with a point it is held there as soon as it comes by."""
        if pause_at is None:
            self.environment.pop("ATF_PAUSE_AT", None)
        else:
            self.environment["ATF_PAUSE_AT"] = pause_at
        self.services["trading"] = self.start("trading", "start", "--poll-interval", "0.5")
        return self.services["trading"]

    def kill_service(self) -> None:
        """SIGKILL the service; its bots' processes end with it."""
        kill(self.services["trading"].pid)
        self.services["trading"].wait()

    async def bar(self, day: int) -> None:
        """Close a bar: the venue matches it, then the bots may see it."""
        await self.venue.push_bar(SERIES, BEGIN + day * DAY, candle_at(day))
        self.venue.now = BEGIN + (day + 1) * DAY
        self.query("UPDATE market_clock SET now_at = %(at)s, step = step + 1", at=self.venue.now)
        self.query("SELECT pg_notify('atf_clock', '')")

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something is so; the venue goes on meanwhile."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():  # noqa: ASYNC110 - what is killed tells nobody
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"waited in vain {what}\n{self.output('trading')[-4000:]}") from None

    async def until_seen(self, day: int) -> None:
        """Wait until every bot has done a bar, and it is known of each of its orders where it is."""
        await self.until(
            lambda: (
                not self.query(
                    "SELECT 1 FROM trading_bots b LEFT JOIN trading_bot_states s ON s.bot_id = b.id "
                    "WHERE b.status <> 'running' OR s.last_processed_bar IS DISTINCT FROM %(at)s "
                    "UNION ALL SELECT 1 FROM trading_orders WHERE status IN ('intent', 'submitted', 'unknown')",
                    at=BEGIN + day * DAY,
                )
            ),
            f"for bar {day}",
        )

    async def until_held(self, point: str) -> None:
        """Wait until the service is held at a point."""
        await self.until(lambda: f"paused at {point}" in self.output("trading"), f"for {point}")

    async def until_running(self) -> None:
        """Wait until every bot runs."""
        await self.until(
            lambda: not self.query("SELECT 1 FROM trading_bots WHERE status <> 'running'"), "for all bots to run"
        )

    def judge(self, bots: int) -> None:
        """Assert that books and venue agree to the last digit, and that nothing was sent twice or left open."""
        assert max(self.venue.submissions.values(), default=0) <= 1, "an order was sent twice"
        ours = {row[0] for row in self.query("SELECT client_order_id FROM trading_orders")}
        assert set(self.venue.submissions) <= ours, "an order was sent that is not in the books"
        assert not self.query("SELECT 1 FROM trading_orders WHERE status IN ('intent', 'submitted', 'unknown')")
        for bot_id in range(1, bots + 1):
            account = self.venue.account(f"bot-{bot_id}")
            self._judge_bot(bot_id, account)

    def _judge_bot(self, bot_id: int, account: Any) -> None:
        cash = self.query("SELECT cash FROM trading_bot_states WHERE bot_id = %(id)s", id=bot_id)[0][0]
        assert cash == account.account.book.cash
        held = self.query(
            "SELECT symbol, quantity FROM trading_positions WHERE bot_id = %(id)s AND status = 'open'", id=bot_id
        )
        assert dict(held) == dict(account.account.book.positions)
        fills = self.query(
            "SELECT venue_fill_id, quantity, price, fee FROM trading_fills WHERE bot_id = %(id)s", id=bot_id
        )
        assert sorted(fills) == sorted((f.venue_fill_id, f.quantity, f.price, f.fee) for f in account.fills)
