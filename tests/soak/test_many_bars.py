"""One bot for a very long time: fresh processes take over where others have grown, and nothing else grows."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest
from sqlalchemy import text

from atf.storage.database import Database
from atf.trading.strategy_instance import MIB
from tests.soak.endless_market import PERIOD, decided_by_hand, open_time, openings_by_hand
from tests.soak.lonely_service import FEE_FRACTION, MEMORY_MIB, LonelyService, lonely_service
from tests.trades_by_hand import BOOKED_TRADES, shares_by_hand, trades_by_hand

BARS: Final = int(os.environ.get("ATF_SOAK_BARS", "5000"))
FIRST: Final = 3 * PERIOD
BARS_A_LIFE: Final = 2500
"""Its process is replaced more often."""
SAMPLES: Final = 60
MOST_GROWTH: Final = 4 * MIB
"""Of the service's memory from the second third of the bars to the last."""
MOST_OBJECTS: Final = 500 + BARS // 100
"""By how many its objects may grow meanwhile: some caches are filled by what is done once in minutes."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300 + BARS // 20)]


async def rows(database: Database, sql: str) -> Sequence[Any]:
    async with database.transaction() as connection:
        return (await connection.execute(text(sql))).all()


def growth(samples: Sequence[int]) -> float:
    """By how much the last third lies above the second; in the first one everything warms up."""
    third = len(samples) // 3
    return median(samples[-third:]) - median(samples[-2 * third : -third])


class Scales:
    """What the service's process and its bot's weigh, again and again."""

    def __init__(self) -> None:
        self.resident: list[int] = []
        self.objects: list[int] = []
        self.bots_most = 0

    def weigh(self) -> None:
        gc.collect()
        fields = Path("/proc/self/statm").read_text().split()
        self.resident.append(int(fields[1]) * os.sysconf("SC_PAGE_SIZE"))
        self.objects.append(len(gc.get_objects()))


async def run_bars(service: LonelyService) -> Scales:
    scales = Scales()
    for number in range(BARS):
        await service.run_bar(FIRST + number)
        scales.bots_most = max(scales.bots_most, service.bots.memory())
        if number % max(1, BARS // SAMPLES) == 0:
            scales.weigh()
    return scales


async def test_a_bot_on_many_bars_gets_fresh_processes_and_trades_as_without_while_memory_stays_flat(
    tmp_path: Path, database: Database
) -> None:
    begin = time.monotonic()
    async with lonely_service(tmp_path, database, FIRST) as service:
        scales = await run_bars(service)
        lives = len(service.bots.pids)
        (bot,) = await rows(database, "SELECT status, error_count FROM trading_bots")
        assert tuple(bot) == ("running", 0)
    seconds = time.monotonic() - begin
    print(f"{BARS} bars in {seconds:.0f} s, {BARS / seconds:.0f} a second, in {lives} processes")
    print(f"a process had {scales.bots_most / MIB:.0f} MiB at most, the service {scales.resident[-1] / MIB:.1f}")
    print(f"since the second third {growth(scales.resident) / MIB:+.2f} MiB, {growth(scales.objects):+} objects")
    assert scales.bots_most <= MEMORY_MIB * MIB
    assert lives > BARS / BARS_A_LIFE, "the process was to be replaced more often"
    await require_each_bar_once(database)
    await require_trades_as_by_hand(database)
    assert growth(scales.resident) <= MOST_GROWTH
    assert growth(scales.objects) <= MOST_OBJECTS


async def require_each_bar_once(database: Database) -> None:
    ((state, last),) = await rows(database, "SELECT strategy_state, last_processed_bar FROM trading_bot_states")
    assert (state["seen"], state["odd"], last) == (BARS, 0, open_time(FIRST + BARS - 1))
    ((worths,),) = await rows(database, "SELECT count(*) FROM trading_equity")
    assert worths == BARS


async def require_trades_as_by_hand(database: Database) -> None:
    bars = range(FIRST, FIRST + BARS)
    by_hand = trades_by_hand(shares_by_hand(decided_by_hand(bars), openings_by_hand(bars)), FEE_FRACTION)
    booked = [tuple(trade) for _, *trade in await rows(database, BOOKED_TRADES)]
    assert len(booked) > BARS / 50
    assert booked == by_hand
    ((difference,),) = await rows(
        database, "SELECT a.cash - s.cash FROM paper_accounts a, trading_bot_states s WHERE a.name = 'bot-1'"
    )
    assert difference == 0
