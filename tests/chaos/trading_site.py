"""A home with bots and a market that a test moves, and a venue that outlives whatever is killed."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from atf.market.bars import Series, Timeframe
from atf.testing.processes import kill
from atf.testing.venue import LocalVenue
from atf.testing.waiting import PATIENCE_SECONDS
from atf.trading.bot_messages import Candle
from atf.trading.paper.account import AccountRules, FillModel
from tests.chaos.site import Site

BEGIN: Final = datetime(2026, 1, 5, tzinfo=UTC)
DAY: Final = timedelta(days=1)
SERIES: Final = Series("AAPL", Timeframe.D1)
WARM_UP: Final = 5
TO_FILL_THE_REST: Final = 5
"""Bars after the last one that is traded."""
SIZE: Final = 3
"""Shares of each order."""
FEE_FRACTION: Final = Decimal("0.001")
PART_OF_VOLUME: Final = Decimal("0.001")
RULES: Final = AccountRules(FillModel(FEE_FRACTION, partial_fill_fraction=PART_OF_VOLUME), allow_short=True)
"""Of the venue: what it fills of an order is a matter of each bar's volume."""
STRATEGY: Final = '''
import backtrader as bt

class EveryBar(bt.Strategy):
    """Buys at one bar and sells at the next, whatever became of the order before; then it only looks on."""

    params = (("bars", 0), ("size", 1))

    def __init__(self):
        self.count = 0

    def next(self):
        self.count += 1
        if self.count > self.p.bars:
            return
        if self.count % 2:
            self.buy(size=self.p.size)
        else:
            self.sell(size=self.p.size)

    def save_state(self):
        return {"count": self.count}

    def load_state(self, state):
        self.count = state["count"]
'''


def candle_at(day: int) -> Candle:
    """The bar of a day: hardly two have the same prices.

    An account gets two shares of its volume, three of the next one's, four of the third's: an order of three is
    filled in part, then to its end together with a part of the next, and every third day leaves nothing over.
    """
    base = round(100 + random.Random(day).random() * 10, 4)
    return (base, base + 3, base - 2, base + 1, 1000.0 * (2 + day % 3))


class TradingSite(Site):
    """Bots that trade every bar at a local venue."""

    def settle(self, venue: LocalVenue, bots: int, traded: int, **broker: Any) -> None:
        """Store bots that trade so many bars, and the market's bars; time stands before the first of them.

        ``broker``: what else their configuration says of it.
        """
        self.venue, self.bots, days = venue, range(1, bots + 1), WARM_UP + traded + TO_FILL_THE_REST
        self._install_plugin(self.home / "plugin")
        folder = self.home / "strategies"
        folder.mkdir()
        (folder / "every_bar.py").write_text(STRATEGY, "utf-8")
        config = {
            "symbol": SERIES.symbol,
            "timeframe": "1d",
            "history_bars": WARM_UP,
            "strategy": {"name": "every_bar.py:EveryBar", "params": {"bars": traded, "size": SIZE}},
            "broker": {"type": "local-venue", "url": venue.url, **broker},
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
        await self.until(lambda: self._have_seen(day), f"for bar {day}")

    def _have_seen(self, day: int) -> bool:
        return not self.query(
            "SELECT 1 FROM trading_bots b LEFT JOIN trading_bot_states s ON s.bot_id = b.id "
            "WHERE b.status <> 'running' OR s.last_processed_bar IS DISTINCT FROM %(at)s "
            "UNION ALL SELECT 1 FROM trading_orders WHERE status IN ('intent', 'submitted', 'unknown')",
            at=BEGIN + day * DAY,
        )

    async def run_bar(self, day: int) -> None:
        """Close a bar, and wait until every bot has done it."""
        await self.bar(day)
        await self.until_seen(day)

    async def bars_until_held(self, point: str, day: int) -> int:
        """Close bars until the service is held at a point, and return the day of the last one."""
        await self.bar(day)
        await self.until(lambda: self._is_held(point) or self._have_seen(day), f"for {point}")
        return day if self._is_held(point) else await self.bars_until_held(point, day + 1)

    async def bars_until_filled(self, day: int) -> None:
        """Close bars until the venue has filled all that rests, and wait until the books have it."""
        accounts = [self.venue.account(f"bot-{bot}") for bot in self.bots]
        while any(one.account.book.orders for one in accounts):
            await self.run_bar(day)
            day += 1
        fills = sum(len(one.fills) for one in accounts)
        await self.until(lambda: self.count("SELECT count(*) FROM trading_fills") == fills, "for the last fills")

    def _is_held(self, point: str) -> bool:
        return f"paused at {point}\n" in self.output("trading")

    async def until_running(self) -> None:
        """Wait until every bot runs."""
        await self.until(
            lambda: not self.query("SELECT 1 FROM trading_bots WHERE status <> 'running'"), "for all bots to run"
        )
