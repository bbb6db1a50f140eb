"""The benchmark harness on benchmarks that are made up: no database, no clock, a disk that stalls on demand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.measure import BenchmarkError, RoundRunner, Source, percentile, ratio_at_least, summarise
from benchmarks.run import main
from rich.console import Console

FAKE = """
from benchmarks.measure import Source, ratio_at_least, ratio_at_most

async def ours():
    return {"rate": 30.0}

async def plain():
    return {"rate": 100.0}

async def benchmark(bench):
    rounds = await bench.rounds({"ours": ours, "plain": plain}, count=3)
    rate, baseline = Source("ours", "rate"), Source("plain", "rate")
    bench.report("missed", "runs/s", rounds, rate, baseline=baseline, goal=ratio_at_least(0.5))
    bench.report("reached", "runs/s", rounds, rate, baseline=baseline, goal=ratio_at_most(0.5))
    bench.report("without_goal", "runs/s", rounds, rate)
"""
BROKEN = """
async def benchmark(bench):
    raise RuntimeError("the server is not there")
"""
SILENT = """
async def benchmark(bench):
    pass
"""


class Disk:
    """Syncs in a millisecond, except for the probes with the given numbers."""

    def __init__(self, *stalls: int) -> None:
        self._stalls = stalls
        self._probes = 0

    def __call__(self) -> float:
        self._probes += 1
        return 0.01 if self._probes - 1 in self._stalls else 0.001


class Harness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.printed = io.StringIO()

    def run(self, *arguments: str, disk: Disk | None = None, **modules: str) -> int:
        for name, source in modules.items():
            (self.folder / f"bench_{name}.py").write_text(source, "utf-8")
        return main(
            [*arguments, "--results", str(self.results)],
            folder=self.folder,
            probe_in=lambda _: disk or Disk(),
            console=Console(file=self.printed, width=160),
        )

    def result(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.results / f"{name}.json").read_text("utf-8"))
        return found

    def metric(self, name: str, metric: str) -> dict[str, Any]:
        (found,) = [each for each in self.result(name)["metrics"] if each["metric"] == metric]
        return dict(found)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def test_a_missed_goal_is_a_result_and_no_error(harness: Harness) -> None:
    assert harness.run(fake=FAKE) == 0
    missed = harness.metric("fake", "missed")
    assert (missed["value"], missed["baseline"], missed["ratio"]) == (30.0, 100.0, 0.3)
    assert (missed["goal"], missed["met"]) == (0.5, False)
    assert harness.metric("fake", "reached")["met"] is True
    assert harness.metric("fake", "without_goal")["met"] is None
    assert "false" in harness.printed.getvalue()


def test_a_round_in_which_the_disk_stalls_is_void_and_measured_again(harness: Harness) -> None:
    # Five probes come first, then one before and one after each round: number 8 is after the second.
    assert harness.run(fake=FAKE, disk=Disk(8)) == 0
    missed = harness.metric("fake", "missed")
    assert (missed["rounds"], missed["void_rounds"]) == (3, 1)
    assert harness.result("fake")["disk_sync_ms"] == {"median": 1.0, "max": 10.0}


def test_what_cannot_be_measured_is_status_1_and_the_others_are_still_measured(harness: Harness) -> None:
    assert harness.run(broken=BROKEN, fake=FAKE) == 1
    assert "could not be measured" in harness.printed.getvalue()
    assert not (harness.results / "broken.json").exists()
    assert (harness.results / "fake.json").exists()


def test_a_benchmark_without_metrics_is_an_error(harness: Harness) -> None:
    assert harness.run(silent=SILENT) == 1


def test_only_what_is_named_runs(harness: Harness) -> None:
    assert harness.run("fake", broken=BROKEN, fake=FAKE) == 0
    assert harness.run("fka", broken=BROKEN, fake=FAKE) == 1
    assert "there are: broken, fake" in harness.printed.getvalue()


async def test_a_disk_that_keeps_stalling_is_an_error_after_a_bounded_number_of_rounds() -> None:
    ran = 0

    async def contender() -> dict[str, float]:
        nonlocal ran
        ran += 1
        return {"rate": 1.0}

    # Calm before every round, stalled after it.
    runner = RoundRunner(Disk(*range(6, 100, 2)))
    with pytest.raises(BenchmarkError, match="stalled"):
        await runner.run({"one": contender, "other": contender}, 4)
    assert ran == 2 * 12


async def test_contenders_take_turns_in_going_first() -> None:
    order: list[str] = []

    async def ours() -> dict[str, float]:
        order.append("ours")
        return {"rate": 1.0}

    async def plain() -> dict[str, float]:
        order.append("plain")
        return {"rate": 1.0}

    await RoundRunner(Disk()).run({"ours": ours, "plain": plain}, 2)
    assert order == ["ours", "plain", "plain", "ours"]


async def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    ours, plain = iter([10.0, 20.0, 90.0]), iter([10.0, 40.0, 100.0])

    async def fast() -> dict[str, float]:
        return {"rate": next(ours)}

    async def slow() -> dict[str, float]:
        return {"rate": next(plain)}

    rounds = await RoundRunner(Disk()).run({"ours": fast, "plain": slow}, 3)
    rate, baseline = Source("ours", "rate"), Source("plain", "rate")
    metric = summarise("m", "runs/s", rounds, rate, baseline=baseline, goal=ratio_at_least(0.9))
    assert (metric.value, metric.baseline, metric.ratio, metric.met) == (20.0, 40.0, 0.9, True)
    assert metric.spread == {"value": (10.0, 90.0), "ratio": (0.5, 1.0)}


@pytest.mark.parametrize(("percent", "expected"), [(50, 5.0), (95, 10.0), (99, 10.0), (10, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(10, 0, -1)], percent) == expected
