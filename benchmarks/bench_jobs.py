"""The run table as a queue, with work that does nothing: draining, claiming, picking up.

Each beside plain SQL, and draining beside other job queues on the same server where they are installed.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from atf.jobs.job_types_builtin import builtin_types
from benchmarks.bench import Bench
from benchmarks.claim_cost import claim_all
from benchmarks.measure import Contender, Goal, Rounds, Source, ratio_at_least, value_at_most
from benchmarks.peers import Peer, compared_peers, install
from benchmarks.pick_up import pick_up_by_sql, pick_up_by_worker
from benchmarks.run_table import RATE, RunTable
from benchmarks.server import BenchServer
from benchmarks.worker_process import drain_by_processes

_PEER_GOALS: Final = {"pgqueuer": 1.3, "procrastinate": 25.0}
_SLOW_PEERS: Final = {"procrastinate": 10}
"""A tenth of the jobs tells the rate of a queue that takes two seconds for a thousand."""
_SCHEDULES: Final = 1_000


async def benchmark(bench: Bench) -> None:
    """Measure drain, drain by two processes and with history, claims with limits, pick-up."""
    async with bench.server() as server, AsyncExitStack() as stack:
        empty = await RunTable.open(server, "empty", stack)
        await _drain(bench, server, empty)
        await _drain_by_two(bench, empty)
        await _drain_checked(bench, empty)
        await _pick_up(bench, empty)
        await _claim(bench, await RunTable.open(server, "limits", stack))
        await _drain_with_history(bench, empty, await RunTable.open(server, "history", stack))


async def _drain(bench: Bench, server: BenchServer, table: RunTable) -> None:
    count = _runs(bench)
    contenders: dict[str, Contender] = {
        "worker": lambda: table.drain_by_worker(count),
        "sql": lambda: table.drain_by_sql(count),
    }
    peers = compared_peers(bench)
    for name, peer in peers.items():
        await server.execute("postgres", f"CREATE DATABASE {name}")
        await install(server, name, name)
        contenders[name] = _peer(peer, server, name, count // _SLOW_PEERS.get(name, 1))
    rounds = await bench.rounds(contenders)
    _compare(bench, "drain_noop", rounds, "worker", "sql", ratio_at_least(0.5))
    for quantile in ("p50", "p95", "p99"):
        ours, raw = Source("worker", quantile), Source("sql", quantile)
        bench.report(f"drain_noop_batch_{quantile}", "ms", rounds, ours, baseline=raw)
    for name in peers:
        _compare(bench, f"drain_noop_against_{name}", rounds, "worker", name, ratio_at_least(_PEER_GOALS[name]))


def _peer(peer: Peer, server: BenchServer, name: str, count: int) -> Contender:
    return lambda: peer(server, name, count)


async def _drain_by_two(bench: Bench, table: RunTable) -> None:
    """Processes of their own for both sides, so that only their number differs."""
    count = 2 * _runs(bench)
    rounds = await bench.rounds(
        {
            "two": lambda: drain_by_processes(table, count, 2),
            "one": lambda: drain_by_processes(table, count, 1),
        }
    )
    _compare(bench, "drain_by_two_processes", rounds, "two", "one", ratio_at_least(1.0))


async def _drain_checked(bench: Bench, table: RunTable) -> None:
    """What checking the task_params of every run against a schema costs, as the built-in types do."""
    count = _runs(bench)
    report = next(one for one in builtin_types() if one.name == "report")
    rounds = await bench.rounds(
        {
            "checked": lambda: table.drain_by_worker(count, report),
            "worker": lambda: table.drain_by_worker(count),
        },
        count=3,
    )
    _compare(bench, "drain_with_schema_check", rounds, "checked", "worker")


async def _drain_with_history(bench: Bench, empty: RunTable, full: RunTable) -> None:
    count = _runs(bench)
    await full.add_history(bench.choose(1_000_000, 3_000))
    rounds = await bench.rounds(
        {"history": lambda: full.drain_by_worker(count), "none": lambda: empty.drain_by_worker(count)}
    )
    _compare(bench, "drain_with_history", rounds, "history", "none", ratio_at_least(0.9))


async def _claim(bench: Bench, table: RunTable) -> None:
    """Runs of 1,000 schedules and 50 users; by 500 as short runs are claimed, and by 10 as long ones are."""
    await table.add_schedules(_SCHEDULES)
    for size, count in ((500, bench.choose(20_000, 1_000)), (10, bench.choose(2_000, 100))):
        rounds = await bench.rounds(
            {
                "limited": lambda size=size, count=count: claim_all(table, count, is_limited=True, size=size),  # type: ignore[misc]
                "plain": lambda size=size, count=count: claim_all(table, count, is_limited=False, size=size),  # type: ignore[misc]
            },
            count=3,
        )
        ours, plain = Source("limited", "p50"), Source("plain", "p50")
        bench.report(f"claim_{size}_with_limits_p50", "ms", rounds, ours, baseline=plain)


async def _pick_up(bench: Bench, table: RunTable) -> None:
    count = bench.choose(150, 20)
    rounds = await bench.rounds(
        {
            "worker": lambda: pick_up_by_worker(table, count),
            "batch": lambda: pick_up_by_worker(table, count, is_batch=True),
            "sql": lambda: pick_up_by_sql(table, count),
        }
    )
    for metric, ours in (("pick_up", "worker"), ("pick_up_batch", "batch")):
        for name, goal in (("p50", value_at_most(5)), ("p95", value_at_most(10)), ("p99", None)):
            source, sql = Source(ours, name), Source("sql", name)
            bench.report(f"{metric}_{name}", "ms", rounds, source, baseline=sql, goal=goal)


def _runs(bench: Bench) -> int:
    return bench.options.size or bench.choose(20_000, 1_500)


def _compare(
    bench: Bench, metric: str, rounds: Rounds, ours: str, baseline: str, goal: Goal | None = None
) -> None:
    bench.report(metric, "runs/s", rounds, Source(ours, RATE), baseline=Source(baseline, RATE), goal=goal)
