"""The scheduler process as users start it: how soon it has ticked, and what it costs while nothing is due."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Final

import psycopg

from atf.testing.processes import Installation
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.server import BenchServer

_PATIENCE_SECONDS: Final = 60
_SETTLING_SECONDS: Final = 2.0
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_MIB: Final = 1024


async def start_and_idle(server: BenchServer, name: str, idle_seconds: float) -> Observation:
    """Start ``atf scheduler start`` on a database where one schedule is due.

    Units:  seconds from the start of the process to the run of its first tick; cores used and MiB resident while
            nothing is due.
    Errors: BenchmarkError if nothing is fired.
    """
    environment = {"ATF_DATABASE_URL": server.url(name), "ATF_POLL_INTERVAL": "5"}
    async with await psycopg.AsyncConnection.connect(server.url(name), autocommit=True) as listener:
        await listener.execute("LISTEN atf_runs")
        with Installation(environment) as installation:
            begin = time.perf_counter()
            process = installation.start("scheduler", "start")
            await _first_runs(listener, installation)
            seconds = time.perf_counter() - begin
            await asyncio.sleep(_SETTLING_SECONDS)
            used, since = _cpu_seconds(process.pid), time.perf_counter()
            await asyncio.sleep(idle_seconds)
            cores = (_cpu_seconds(process.pid) - used) / (time.perf_counter() - since)
            resident = _resident_mib(process.pid)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, _PATIENCE_SECONDS)
    return {"seconds": seconds, "cores": cores, "mib": resident}


async def _first_runs(listener: psycopg.AsyncConnection, installation: Installation) -> None:
    async for _ in listener.notifies(timeout=_PATIENCE_SECONDS, stop_after=1):
        return
    raise BenchmarkError(f"the scheduler fired nothing:\n{installation.output('scheduler')}")


def _cpu_seconds(pid: int) -> float:
    """User and system time of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / _MIB
    raise BenchmarkError("the scheduler is gone")
