"""Bots: how soon they are ready, what each weighs, how fast one answers a bar, and what idle ones cost."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.market.bars import Timeframe
from atf.trading.bot_messages import Answer, Candle, Feed, Heartbeat, NewBar, Ready, Said, Start
from atf.trading.bot_process import BotProcess, ProcessLimits
from atf.trading.order import BotId
from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError, Observation, Source, value_at_most
from benchmarks.sleepers import sleepers

_WARM_UP: Final = 250
_BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
_CASH: Final = Decimal(10_000)
_IDLE_GOAL: Final = value_at_most(6)


async def benchmark(bench: Bench) -> None:
    """Measure bots of the built-in cross of two averages, with 250 bars of warm-up each."""
    count = bench.options.size or bench.choose(100, 3)
    bars, idle = bench.choose(2000, 20), bench.choose(20, 1)
    contenders = {"bots": lambda: _run(count, bars, idle), "sleepers": lambda: _sleep(count, idle)}
    rounds = await bench.rounds(contenders, count=3)
    bench.versions["postgresql"] = "not used"
    bench.report("bots_ready", "s", rounds, Source("bots", "ready"), goal=value_at_most(5))
    bench.report("bot_memory", "MB", rounds, Source("bots", "memory"), goal=value_at_most(12))
    bench.report("bot_answer_p50", "ms", rounds, Source("bots", "p50"), goal=value_at_most(2))
    bench.report("bot_answer_p99", "ms", rounds, Source("bots", "p99"))
    bench.report("bar_for_all", "ms", rounds, Source("bots", "for_all"))
    idle_source, baseline = Source("bots", "idle"), Source("sleepers", "idle")
    bench.report("bots_idle", "% of a core", rounds, idle_source, baseline=baseline, goal=_IDLE_GOAL)
    bench.notes.append(
        f"{count} bots; memory is each one's share (PSS), idle with zygote and this process; "
        "baseline of that: as many processes that only wake up each second and write a word"
    )


async def _run(count: int, bars: int, idle_seconds: int) -> Observation:
    async with _bots() as bots:
        begin = time.perf_counter()
        found = await asyncio.gather(*(_ready(bots) for _ in range(count)))
        ready = time.perf_counter() - begin
        latencies = sorted([await _answer(found[0], number) for number in range(1, bars + 1)])
        for_all = [await _bar_for_all(found, number) for number in range(bars + 1, bars + 11)]
        memory = mean(_share_of_memory(one.pid) for one in found)
        return {
            "ready": ready,
            "memory": memory,
            "p50": latencies[len(latencies) // 2] * 1000,
            "p99": latencies[len(latencies) * 99 // 100] * 1000,
            "for_all": median(for_all) * 1000,
            "idle": await _idle_share(bots, found, idle_seconds) * 100,
        }


async def _sleep(count: int, idle_seconds: int) -> Observation:
    with sleepers(count) as pids:
        await asyncio.sleep(1)
        return {"idle": await _share_of_a_core(pids, idle_seconds) * 100}


@asynccontextmanager
async def _bots() -> AsyncIterator[ForkedBots]:
    bots = ForkedBots()
    try:
        yield bots
    finally:
        await bots.close()


def _candle(number: int) -> Candle:
    close = 100 + 10 * math.sin(number / 7)
    return (close, close + 1, close - 1, close, 10.0)


_HISTORY: Final = tuple((_BEGIN + timedelta(minutes=n), _candle(n)) for n in range(_WARM_UP))


async def _ready(bots: ForkedBots) -> BotProcess:
    bot = await bots.spawn(BotId(1), ProcessLimits())
    feed = Feed("BTC", Timeframe.M1, _HISTORY)
    await bot.send(Start(BotId(1), "bench", "sma_cross", {}, (feed,), _CASH))
    await _hear(bot, Ready)
    return bot


async def _answer(bot: BotProcess, number: int) -> float:
    """Return the seconds from a bar to its answer."""
    open_time = _BEGIN + timedelta(minutes=_WARM_UP + number)
    begin = time.perf_counter()
    await bot.send(NewBar(number, open_time, {0: _candle(number)}, _CASH, _CASH))
    await _hear(bot, Answer)
    return time.perf_counter() - begin


async def _bar_for_all(bots: Sequence[BotProcess], number: int) -> float:
    begin = time.perf_counter()
    await asyncio.gather(*(_answer(bot, number) for bot in bots))
    return time.perf_counter() - begin


async def _hear(bot: BotProcess, kind: Any) -> None:
    while not isinstance(message := await bot.receive(), kind):
        if not isinstance(message, Heartbeat | Said):
            raise BenchmarkError(f"a bot said {message}")


async def _idle_share(bots: ForkedBots, found: Sequence[BotProcess], seconds: int) -> float:
    """Return how much of a core all processes take while nothing happens but heartbeats."""
    listening = [asyncio.create_task(_hear(bot, type(None))) for bot in found]
    pids = [bots.zygote_pid or 0, *(bot.pid for bot in found), os.getpid()]
    share = await _share_of_a_core(pids, seconds)
    for one in listening:
        one.cancel()
        with suppress(asyncio.CancelledError):
            await one
    return share


async def _share_of_a_core(pids: Sequence[int], seconds: int) -> float:
    before, begin = sum(map(_cpu_seconds, pids)), time.perf_counter()
    await asyncio.sleep(seconds)
    return (sum(map(_cpu_seconds, pids)) - before) / (time.perf_counter() - begin)


def _cpu_seconds(pid: int) -> float:
    """Return what a process of one thread has computed; ticks would be too coarse for a millisecond a second."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _share_of_memory(pid: int) -> float:
    """Return a process's part of the memory in MB; what n processes share counts as an n-th."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
