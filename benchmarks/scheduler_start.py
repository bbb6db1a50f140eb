"""A scheduler's first tick in a process of its own: ``python -m benchmarks.scheduler_start URL [INSTANT]``.

It begins with nothing parsed and nothing cached, and prints what it measured as JSON. With an instant market time
begins there; without one it is the wall time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import create_engine

from atf.adapters.apscheduler.timer import ApschedulerTimer, open_jobstore
from atf.clock import SystemClock
from atf.jobs.chores.partition_maker import PartitionMaker
from atf.lifecycle import Progress
from atf.market.market_clock import LiveMarketClock, MarketClock
from atf.schedules.tick import Tick
from atf.services.scheduler.service import SchedulerService
from atf.storage.advisory_lock import TIMER_LOCK, SessionLock
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.listener import Listener
from atf.storage.partitions import PostgresPartitions
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.schedule_table import MovingClock, loop_watch

_PATIENCE_SECONDS: Final = 120


async def start_in_a_process(url: str, instant: datetime | None = None) -> Observation:
    """Return seconds until the first tick is done, and how long the loop did not get its turn, in ms."""
    at = () if instant is None else (instant.isoformat(),)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.scheduler_start", url, *at, stdout=PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise BenchmarkError(f"the scheduler's process ended with status {process.returncode}")
    observed: Observation = json.loads(output)
    return observed


async def _start(url: str, clock: MarketClock) -> Observation:
    database = Database(url)
    listener = Listener(database.direct_url, ["atf_schedules"])
    await listener.start()
    await listener.wait(10)  # its first wake-up says that it listens
    progress, is_ticked = Progress(), asyncio.Event()
    progress.on_first_mark(is_ticked.set)
    service = SchedulerService(
        Tick(PostgresGroups(database, is_replay=False), clock),
        clock,
        [],
        before_first_tick=PartitionMaker(PostgresPartitions(database), clock),
        open_timer=_timer_opener(database),
        lock=SessionLock(database.direct_url, TIMER_LOCK),
        waiter=listener,
        poll=timedelta(seconds=60),
        progress=progress,
    )
    try:
        async with loop_watch() as watch:
            begin = time.perf_counter()
            await service.start()
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await is_ticked.wait()
            seconds = time.perf_counter() - begin
    finally:
        await service.stop()
        await listener.stop()
        await database.close()
    return {"seconds": seconds, "blocked_ms": watch.longest * 1000}


def _timer_opener(database: Database) -> Callable[[Callable[[], Awaitable[None]]], ApschedulerTimer]:
    return lambda ring: ApschedulerTimer(open_jobstore(create_engine(database.url, pool_size=1)), ring)


def _main(url: str, instant: str | None = None) -> None:
    clock = LiveMarketClock(SystemClock()) if instant is None else MovingClock(datetime.fromisoformat(instant))
    gc.collect()
    gc.freeze()  # as every process of ATF does when it starts
    sys.stdout.write(json.dumps(asyncio.run(_start(url, clock))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
