"""The tick and the scheduler's start: many schedules due at once, many groups, and a process that idles."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import combinations, islice, product
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from atf.schedules.cron_parser import CronParser
from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError, Observation, Source, ratio_at_most, value_at_most
from benchmarks.schedule_table import LATE, Group, ScheduleTable
from benchmarks.scheduler_process import start_and_idle
from benchmarks.scheduler_start import start_in_a_process

_ZONES: Final = ("UTC", "America/New_York", "Asia/Tokyo")
_WHOLE_HOUR_ZONES: Final = (*_ZONES, "Europe/Berlin", "America/Sao_Paulo", "Asia/Shanghai")
_CRONS: Final = ("* * * * *", "*/5 * * * *", "*/30 * * * *", "0 * * * *")
_FAR: Final = "{minute} 0 29 2 *"
_FAR_MINUTES: Final = 12


async def benchmark(bench: Bench) -> None:
    """Measure a tick of many schedules, the first tick of many groups, and the scheduler's process."""
    async with bench.server() as server, AsyncExitStack() as stack:
        table = await ScheduleTable.open(server, "schedules", stack)
        await _tick(bench, table)
        await _groups_due_together(bench, table)
        await _groups_missed(bench, table)
        await _process(bench, table)


async def _tick(bench: Bench, table: ScheduleTable) -> None:
    """Grace time 1 s, and what is later than that skipped: the tick takes longer, and yet nothing is late."""
    due = _full_hour()
    groups = [Group(cron, zone, due) for cron, zone in product(_CRONS, _ZONES)]
    wanted = bench.options.size or bench.choose(100_000, 1_200)
    count = await table.fill(groups, -(-wanted // len(groups)), policy="skip", grace_seconds=1)
    rounds = await bench.rounds(
        {"tick": lambda: table.tick(count, due), "sql": lambda: table.insert_by_sql(count, due)}
    )
    ours, sql = Source("tick", "seconds"), Source("sql", "seconds")
    bench.report("tick", "s", rounds, ours, baseline=sql, goal=ratio_at_most(2))
    bench.report("tick_missed", "runs", rounds, Source("tick", "missed"), goal=value_at_most(0))
    bench.report("tick_loop_blocked", "ms", rounds, Source("tick", "blocked_ms"), goal=value_at_most(100))


async def _groups_due_together(bench: Bench, table: ScheduleTable) -> None:
    """All groups are due at one instant, and a scheduler starts 0.2 s later."""
    due = _full_hour()
    pairs = product(combinations(range(1, 60), 2), _WHOLE_HOUR_ZONES)
    groups = [
        Group(f"0,{first},{second} * * * *", zone, due)
        for (first, second), zone in islice(pairs, _group_count(bench))
    ]
    await _measure_groups(bench, table, "groups_due_together", groups, due + LATE)


async def _groups_missed(bench: Bench, table: ScheduleTable) -> None:
    """Each group was due once, at its own minute of the last day, and no scheduler ran: all catch up."""
    now = datetime.now(UTC)
    zones = sorted(name for name in available_timezones() if "/" in name)[::4][:100]
    each = _group_count(bench) // len(zones)
    groups = [_daily(7 * number % 1440, zone, now) for zone in zones for number in range(each)]
    await _measure_groups(bench, table, "groups_missed", groups, None)


def _daily(minute: int, zone: str, now: datetime) -> Group:
    local = now.astimezone(ZoneInfo(zone)).replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    last = local.astimezone(UTC)
    due = last if last < now - timedelta(seconds=5) else last - timedelta(days=1)
    return Group(f"{minute % 60} {minute // 60} * * *", zone, due)


async def _measure_groups(
    bench: Bench, table: ScheduleTable, metric: str, groups: list[Group], at: datetime | None
) -> None:
    async def start() -> Observation:
        await table.fill(groups, 1)
        observed = await start_in_a_process(table.server.url(table.name), at)
        if (created := await table.count_runs()) < len(groups):
            raise BenchmarkError(f"the runs of {created} of {len(groups)} groups were made")
        return observed

    rounds = await bench.rounds({"start": start}, count=3)
    bench.report(metric, "s", rounds, Source("start", "seconds"), goal=value_at_most(3))
    blocked = Source("start", "blocked_ms")
    bench.report(f"{metric}_loop_blocked", "ms", rounds, blocked, goal=value_at_most(100))


async def _process(bench: Bench, table: ScheduleTable) -> None:
    """One of the schedules is due when the process starts, the others on the next 29th of February."""
    wanted = bench.options.size or bench.choose(100_000, 1_200)
    seconds = bench.choose(30, 1)

    async def start() -> Observation:
        now = datetime.now(UTC)
        far = [_far(minute, zone, now) for minute, zone in product(range(_FAR_MINUTES), _ZONES)]
        await table.fill(far, -(-wanted // len(far)))
        await table.make_one_due(now - timedelta(seconds=1))
        return await start_and_idle(table.server, table.name, seconds)

    rounds = await bench.rounds({"process": start}, count=3)
    bench.report("process_start", "s", rounds, Source("process", "seconds"), goal=value_at_most(3))
    bench.report("process_idle_cores", "cores", rounds, Source("process", "cores"), goal=value_at_most(0.01))
    bench.report("process_memory", "MiB", rounds, Source("process", "mib"), goal=value_at_most(150))


def _far(minute: int, zone: str, now: datetime) -> Group:
    cron = _FAR.format(minute=minute)
    return Group(cron, zone, CronParser.calculate_next_run(cron, zone, after=now))


def _group_count(bench: Bench) -> int:
    return bench.choose(10_000, 300)


def _full_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
