"""A data run whose worker is killed goes on where it was: no symbol is done again, no bar is doubled."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import pytest

from atf.testing.processes import kill
from atf.testing.waiting import wait_for
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

KILLS: Final = max(3, int(os.environ.get("ATF_CHAOS_KILLS", "20")) // 4)
FIRST: Final = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS: Final = tuple(f"S{number:02}" for number in range(12))
AT_ONCE: Final = 4
"""So many symbols of a run are worked on at the same time; all of them come to a pause point."""
LENGTHS: Final = {"1m": timedelta(minutes=1), "1d": timedelta(days=1)}


class DataSite(Site):
    """Bars in files, and one run that fetches, stores and checks them."""

    def put_file(self, symbol: str, timeframe: str, bars: int, volume: int) -> None:
        """Write a file in place of an older one; the volume tells in the database which file a bar came from."""
        path = self.home / "bars" / timeframe / f"{symbol}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        length = LENGTHS[timeframe]
        rows = [f"{(FIRST + i * length).isoformat()},100,102,99,{100 + i % 2},{volume}" for i in range(bars)]
        new = path.with_suffix(".new")
        new.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]))
        new.rename(path)

    def begin(self, symbols: Sequence[str], timeframe: str) -> None:
        """Start a run of a schedule that may be tried often enough."""
        params = {
            "data_source": "files",
            "symbols": symbols,
            "timeframe": timeframe,
            "since": FIRST.date().isoformat(),
            "operations": ["fetch", "normalize", "cache", "check", "indicators"],
            "indicators": [{"indicator": "sma", "params": {"period": 10}}],
        }
        added = self.run(
            *("schedules", "add", "data_processing", "--target", "nightly", "--cron", "0 0 1 1 *"),
            *("--params", json.dumps(params), "--max-attempts", "100"),
        )
        assert added.returncode == 0, added.stderr
        self.ensure("scheduler", 1)
        assert self.run("schedules", "run", "1").returncode == 0

    def hold_and_kill(self, place: str) -> None:
        """Start a worker, and kill it once every symbol it has in hand is held at a place."""
        said = f"paused at {place}\n"
        before = self.output("worker").count(said)
        self.environment["ATF_PAUSE_AT"] = place
        worker = self.ensure("worker", 1)
        del self.environment["ATF_PAUSE_AT"]
        wait_for(lambda: self.output("worker").count(said) >= before + AT_ONCE, what=f"for {place}")
        kill(worker.pid)
        worker.wait()

    def finish(self) -> dict[str, Any]:
        """Start a worker that nobody kills; return the run's result."""
        self.ensure("worker", 1)
        wait_for(lambda: self.status() in ("COMPLETED", "FAILED"), what="until the run has ended")
        ((status, result),) = self.query("SELECT status, result FROM job_schedule_runs")
        assert status == "COMPLETED"
        return dict(result)

    def status(self) -> str:
        return str(self.query("SELECT status FROM job_schedule_runs")[0][0])

    def is_at_work(self, worker: int, bars: int) -> bool:
        """Tell whether this worker holds the run and so many bars are stored.

        Attempts do not tell: on a slow machine a worker may lose its lease before it is killed.
        """
        ((status, holder),) = self.query("SELECT status, worker_id FROM job_schedule_runs")
        is_held = status == "RUNNING" and str(holder).startswith(f"worker-{worker}-")
        return is_held and self.count("SELECT count(*) FROM market_bars") >= bars

    def attempt(self) -> int:
        return int(self.query("SELECT attempt FROM job_schedule_runs")[0][0])

    def finished(self) -> dict[str, tuple[datetime, Any]]:
        """Return when each finished step ended, and what came of it."""
        rows = self.query("SELECT step, finished_at, outcome FROM job_run_steps WHERE outcome IS NOT NULL")
        assert len(rows) == len({row[0] for row in rows})
        return {step: (at, outcome) for step, at, outcome in rows}

    def bars_by_volume(self) -> dict[str, dict[int, int]]:
        """Return how many bars of each symbol come from which version of its file."""
        found: dict[str, dict[int, int]] = {}
        for symbol, volume, count in self.query(
            "SELECT symbol, volume::int, count(*) FROM market_bars GROUP BY 1, 2 ORDER BY 1, 2"
        ):
            found.setdefault(symbol, {})[volume] = count
        return found


@pytest.fixture
def site() -> Iterator[DataSite]:
    with DataSite() as site:
        yield site


def test_finished_symbols_are_not_done_again_after_a_kill(site: DataSite) -> None:
    bad_first, bad_last = SYMBOLS[1], SYMBOLS[-1]
    good = [symbol for symbol in SYMBOLS if symbol not in (bad_first, bad_last)]

    def provide(symbols: Sequence[str], bars: int, volume: int) -> None:
        for symbol in symbols:
            site.put_file(symbol, "1d", bars, volume)

    provide(good, 300, 1)
    site.begin(SYMBOLS, "1d")

    site.hold_and_kill("data_jobs.after_step")
    first = site.finished()
    assert sorted(first) == list(SYMBOLS[:AT_ONCE])
    provide([*good, bad_first], 301, 2)

    site.hold_and_kill("data_jobs.before_step")
    assert site.finished() == first
    assert site.bars_by_volume() == {
        **{symbol: {1: 300} for symbol in SYMBOLS[:AT_ONCE] if symbol != bad_first},
        **{symbol: {2: 301} for symbol in SYMBOLS[AT_ONCE : 2 * AT_ONCE]},
    }
    provide([*good, bad_first], 302, 3)

    result = site.finish()
    last = site.finished()
    assert site.attempt() >= 3
    assert {symbol: last[symbol] for symbol in first} == first
    assert sorted(last) == list(SYMBOLS)
    assert site.bars_by_volume() == {
        **{symbol: {1: 300} for symbol in SYMBOLS[:AT_ONCE] if symbol != bad_first},
        # Their bars were stored, but not that they were done: the newest one is fetched once more.
        **{symbol: {2: 300, 3: 2} for symbol in SYMBOLS[AT_ONCE : 2 * AT_ONCE]},
        **{symbol: {3: 302} for symbol in SYMBOLS[2 * AT_ONCE :] if symbol != bad_last},
    }
    assert result["outcomes"] == {symbol: outcome for symbol, (_, outcome) in last.items()}
    assert (result["symbols"], result["ok"], result["failed"]) == (12, 10, [bad_first, bad_last])
    assert result["outcomes"][bad_first]["error"].startswith(f"no file of {bad_first} 1d in ")
    assert all(result["outcomes"][symbol]["indicators"] for symbol in good)


def test_a_kill_before_bars_are_committed_leaves_none_of_them_and_loses_none(site: DataSite) -> None:
    for symbol in SYMBOLS:
        site.put_file(symbol, "1d", 300, 1)
    site.begin(SYMBOLS, "1d")
    site.hold_and_kill("bars.before_commit")
    assert (site.finished(), site.bars_by_volume()) == ({}, {})
    assert site.finish()["bars"] == 300 * len(SYMBOLS)
    assert site.bars_by_volume() == {symbol: {1: 300} for symbol in SYMBOLS}


def test_kills_at_random_places_of_a_long_run_double_nothing(site: DataSite) -> None:
    chance = random.Random(20240101)
    bars = 12_000  # three pieces of each symbol, so that kills also come between them
    symbols = [f"S{number:02}" for number in range(4 * KILLS)]
    for symbol in symbols[1:]:
        site.put_file(symbol, "1m", bars, 1)
    site.begin(symbols, "1m")
    # Not near the end, so that each kill meets the run at work.
    places = sorted(chance.sample(range(bars * len(symbols) * 2 // 3), KILLS))
    known: dict[str, tuple[datetime, Any]] = {}
    for number, place in enumerate(places, start=1):
        worker = site.ensure("worker", number)
        wait_for(partial(site.is_at_work, number, place), what=f"for {place} bars with worker {number}")
        kill(worker.pid)
        worker.wait()
        found = site.finished()
        assert {symbol: found[symbol] for symbol in known} == known
        for symbol in found.keys() - known.keys() - {symbols[0]}:
            site.put_file(symbol, "1m", bars, 2)
        known = found
    result = site.finish()
    last = site.finished()
    assert site.attempt() > KILLS
    assert {symbol: last[symbol] for symbol in known} == known
    assert (result["ok"], result["failed"]) == (len(symbols) - 1, [symbols[0]])
    assert result["outcomes"] == {symbol: outcome for symbol, (_, outcome) in last.items()}
    assert site.bars_by_volume() == {symbol: {1: bars} for symbol in symbols[1:]}, "a symbol was done again"
