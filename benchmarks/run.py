"""Runs the benchmarks: ``python -m benchmarks.run [NAME ...]``, which ``make bench [ONLY=name]`` calls.

A module ``bench_<name>.py`` in this folder with ``async def benchmark(bench: Bench)`` is a benchmark. Exit
status 1 means that one could not be measured; a missed goal is a result like any other.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import importlib.util
import pstats
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.bench import Bench, Options
from benchmarks.disk_probe import DiskProbe
from benchmarks.machine import describe_machine
from benchmarks.measure import BenchmarkError, Probe
from benchmarks.report import result_of, show, write
from benchmarks.server import temporary_folder

HERE: Final = Path(__file__).parent
Benchmark = Callable[[Bench], Awaitable[None]]


def main(
    arguments: Sequence[str] | None = None,
    *,
    folder: Path = HERE,
    probe_in: Callable[[Path], Probe] = DiskProbe,
    console: Console | None = None,
) -> int:
    """Run what the arguments name and return the exit status."""
    console = console or _wide_console()
    given = _parser().parse_args(arguments)
    modules = _modules(folder)
    unknown = sorted(set(given.names) - set(modules))
    if unknown:
        console.print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(modules)}")
        return 1
    statuses = [_run(name, modules[name], given, probe_in, console) for name in given.names or modules]
    return max(statuses, default=0)


def _wide_console() -> Console:
    """Return a console on which no column is cut where nobody limits the width."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure ATF.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks; all if none is named")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run, not how fast")
    parser.add_argument("--size", type=_positive, help="the benchmark's main size, such as how many alerts")
    parser.add_argument("--rounds", type=_positive, help="rounds of each comparison")
    parser.add_argument("--profile", type=int, nargs="?", const=25, metavar="LINES", help="print a profile")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "latest", help="where files go")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _modules(folder: Path) -> dict[str, Path]:
    return {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}


def _run(
    name: str, path: Path, given: argparse.Namespace, probe_in: Callable[[Path], Probe], console: Console
) -> int:
    machine = describe_machine()
    folder = temporary_folder()
    options = Options(quick=given.quick, size=given.size, rounds=given.rounds)
    profiler = cProfile.Profile() if given.profile else None
    try:
        bench = Bench(folder, options, probe_in(folder), profiler)
        benchmark = _load(name, path)
        gc.collect()
        gc.freeze()  # as every process of ATF does when it starts
        asyncio.run(_measure(benchmark, bench))
    except Exception:  # noqa: BLE001 - whatever went wrong, the other benchmarks are still of use
        console.print(f"bench_{name} could not be measured")
        console.print_exception()
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(name, bench.metrics, console)
    for note in bench.notes:
        console.print(note)
    if profiler is not None:  # figures under a profiler are none
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(given.profile)
        return 0
    console.print(f"written to {write(result_of(name, bench, machine), given.results)}")
    return 0


async def _measure(benchmark: Benchmark, bench: Bench) -> None:
    await benchmark(bench)
    if not bench.metrics:
        raise BenchmarkError("the benchmark reported nothing")


def _load(name: str, path: Path) -> Benchmark:
    spec = importlib.util.spec_from_file_location(f"benchmarks.bench_{name}", path)
    if spec is None or spec.loader is None:
        raise BenchmarkError(f"{path.name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    found: Benchmark = module.benchmark
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is stopped then too
    sys.exit(main())
