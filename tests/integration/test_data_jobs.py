"""Data-processing jobs on a real database, with a provider that does what the test says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.conftest import Rows

from atf.adapters.providers.bar_files import read_bars
from atf.bootstrap.data_jobs import FolderExporter
from atf.data_jobs.handler import DataProcessingHandler
from atf.data_jobs.symbol_work import Tools
from atf.errors import DatabaseUnavailable, NotFound, PermanentFailure, TemporaryFailure
from atf.indicators.indicator_service import IndicatorService
from atf.jobs.handler import Job
from atf.jobs.run import RunId
from atf.market.adjustment import CorporateAction
from atf.market.bars import Bars, Series, Timeframe
from atf.market.continuous_calendars import CurrencyWeek
from atf.market.download import Downloader
from atf.market.due_bars import DueBars
from atf.market.market_clock import LiveMarketClock
from atf.market.provider_lane import ProviderLane
from atf.storage.adjustments_repository import PostgresAdjustments
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.run_steps_repository import PostgresRunSteps
from atf.testing.clocks import FakeClock
from atf.testing.market import OneCalendar, ScriptedProvider

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
NOW = FIRST + timedelta(days=100)
DAY = timedelta(days=1)


def days(count: int = 100, timeframe: timedelta = DAY) -> Bars:
    return Bars.from_rows(
        [(FIRST + i * timeframe, 100.0 + i, 103.0 + i, 99.0 + i, 101.0 + i, 10.0) for i in range(count)]
    )


class Venue(ScriptedProvider):
    """A provider that also fails for certain symbols, and knows dividends."""

    def __init__(self) -> None:
        super().__init__("venue")
        self.failing: dict[str, Exception] = {}

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        if series.symbol in self.failing:
            self.asked.append((series, until, count, since))
            raise self.failing[series.symbol]
        return await super().closed_bars(series, until, count, since)

    async def actions(self, symbol: str, since: date) -> Sequence[CorporateAction]:
        assert since == FIRST.date()
        dividend = CorporateAction((FIRST + 50 * DAY).date(), 1.0, 6.0)
        return [dividend, CorporateAction((FIRST + 70 * DAY).date(), 4.0)]


class Members:
    async def members(self, user_id: int | None, name: str, on: date) -> Sequence[str]:
        if name != "majors":
            raise NotFound(f"there is no universe '{name}'")
        return ["AAPL", "MSFT"]


async def no_pause(seconds: float) -> None:
    del seconds


class Desk:
    """A handler, what it works on, and runs for it."""

    def __init__(self, database: Database, rows: Rows, folder: Path) -> None:
        self.rows = rows
        self.venue = Venue()
        for symbol in ("AAPL", "MSFT", "BTC/USDT"):
            self.venue.bars[Series(symbol, Timeframe.D1)] = days()
        self.store = PostgresBarStore(database)
        self.steps = PostgresRunSteps(database)
        self.database = database
        self.folder = folder
        self.calendar = OneCalendar()
        self.handler = DataProcessingHandler(self, Members(), self.steps, LiveMarketClock(FakeClock(NOW)))

    def tools(self, data_source: str | None) -> Tools:
        lane = ProviderLane(self.venue, monotonic=lambda: 0.0)
        return Tools(
            archive=self.store,
            adjustments=PostgresAdjustments(self.database),
            exporter=FolderExporter(self.folder),
            due=DueBars(self.calendar),
            indicators=IndicatorService(),
            downloader=None if data_source is None else Downloader(lane, self.store, sleep=no_pause),
            actions=self.venue,
        )

    async def run(self, run_id: RunId | None = None, **params: Any) -> dict[str, Any]:
        given = {"data_source": "venue", "operations": ["fetch", "normalize", "cache"], **params}
        given = {name: value for name, value in given.items() if value is not None}
        job = Job(
            run_id or RunId(uuid4()),
            "data_processing",
            1,
            1,
            NOW,
            1,
            "nightly",
            "nightly",
            given,
            timedelta(hours=1),
        )
        return dict(await self.handler.handle(job))

    async def stored(self) -> int:
        return int(await self.rows.value("SELECT count(*) FROM market_bars") or 0)


@pytest.fixture
def desk(database: Database, rows: Rows, tmp_path: Path) -> Desk:
    return Desk(database, rows, tmp_path)


async def test_bars_are_fetched_and_stored_for_each_symbol(desk: Desk) -> None:
    result = await desk.run(symbols=["AAPL", "BTCUSDT"], since="2024-01-01")
    assert (result["symbols"], result["ok"], result["failed"], result["bars"]) == (2, 2, [], 200)
    assert result["outcomes"]["BTC/USDT"]["stored"] == 100
    assert await desk.stored() == 200


async def test_a_job_may_name_a_universe(desk: Desk) -> None:
    result = await desk.run(universe="majors")
    assert sorted(result["outcomes"]) == ["AAPL", "MSFT"]


async def test_an_unknown_universe_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound, match="there is no universe 'minors'"):
        await desk.run(universe="minors")


async def test_one_bad_symbol_does_not_fail_the_others(desk: Desk) -> None:
    desk.venue.failing["MSFT"] = NotFound("venue has no MSFT 1d")
    result = await desk.run(symbols=["AAPL", "MSFT", "BTC/USDT"])
    assert (result["ok"], result["failed"]) == (2, ["MSFT"])
    assert result["outcomes"]["MSFT"] == {"status": "failed", "error": "venue has no MSFT 1d"}


async def test_doing_a_job_again_changes_nothing(desk: Desk) -> None:
    await desk.run(symbols=["AAPL"], since="2024-01-01")
    before = await desk.rows.all("SELECT * FROM market_bars ORDER BY open_time")
    await desk.run(symbols=["AAPL"], since="2024-01-01")
    assert await desk.rows.all("SELECT * FROM market_bars ORDER BY open_time") == before


async def test_a_run_that_is_taken_up_again_does_only_what_is_left(desk: Desk) -> None:
    run_id = RunId(uuid4())
    await desk.steps.begin(run_id, ["AAPL", "MSFT"])
    await desk.steps.finish(run_id, "AAPL", {"status": "ok", "stored": 7})
    result = await desk.run(run_id, symbols=["AAPL", "MSFT"])
    assert {series.symbol for series, *_ in desk.venue.asked} == {"MSFT"}
    assert result["bars"] == 107


async def test_what_may_work_later_is_done_again_when_the_run_is_tried_anew(desk: Desk) -> None:
    run_id = RunId(uuid4())
    desk.venue.failing["AAPL"] = TemporaryFailure("venue: 503")
    with pytest.raises(TemporaryFailure, match=r"none of 1 symbols could be done; AAPL: .*venue: 503"):
        await desk.run(run_id, symbols=["AAPL"])
    desk.venue.failing.clear()
    assert (await desk.run(run_id, symbols=["AAPL"]))["ok"] == 1


async def test_a_run_in_which_nothing_can_ever_be_done_fails_for_good(desk: Desk) -> None:
    with pytest.raises(PermanentFailure, match="none of 1 symbols could be done; XYZ: venue has no XYZ 1d"):
        await desk.run(symbols=["XYZ"])


async def test_without_cache_nothing_is_stored(desk: Desk) -> None:
    result = await desk.run(symbols=["AAPL"], operations=["fetch"], since="2024-01-01")
    assert (result["outcomes"]["AAPL"]["fetched"], await desk.stored()) == (100, 0)


async def test_normalizing_moves_impossible_bars_into_the_quarantine(desk: Desk) -> None:
    await desk.run(symbols=["AAPL"], since="2024-01-01")
    await desk.rows.change("UPDATE market_bars SET high = 1 WHERE open_time = '2024-01-05'")
    result = await desk.run(symbols=["AAPL"], operations=["normalize"], data_source=None)
    assert result["outcomes"]["AAPL"] == {"status": "ok", "normalized": 99, "moved_to_quarantine": 1}
    assert await desk.stored() == 99
    assert await desk.rows.value("SELECT reason FROM market_bars_quarantine") == "high is below low"


async def test_coarser_bars_are_stored_without_the_one_that_is_forming(desk: Desk) -> None:
    await desk.run(
        symbols=["AAPL"], since="2024-01-01", operations=["fetch", "cache", "resample"], resample_to=["1w"]
    )
    weekly = await desk.store.between(Series("AAPL", Timeframe.W1))
    assert len(weekly) == 14  # the hundred days begin on a Monday and end within the fifteenth week
    assert float(weekly.open[0]) == 100.0
    assert float(weekly.close[0]) == 107.0


async def test_coarser_bars_that_only_a_part_of_the_stored_ones_would_make_are_not_stored(desk: Desk) -> None:
    aapl = Series("AAPL", Timeframe.D1)
    await desk.store.store(aapl, days()[2:12])  # from a Wednesday to the Friday of the next week
    whole_week = Bars.from_rows([(FIRST, 1.0, 9.0, 1.0, 5.0, 70.0)])
    await desk.store.store(Series("AAPL", Timeframe.W1), whole_week)
    await desk.run(symbols=["AAPL"], data_source=None, operations=["resample"], resample_to=["1w"])
    weekly = await desk.store.between(Series("AAPL", Timeframe.W1))
    assert [float(close) for close in weekly.close] == [5.0]


async def test_days_of_a_market_with_sessions_are_made_of_these(desk: Desk) -> None:
    desk.calendar = OneCalendar(CurrencyWeek())
    hour = timedelta(hours=1)
    hours = Bars.from_rows(
        [(FIRST - 10 * hour + n * hour, 100.0 + n, 200.0, 50.0, 101.0 + n, 1.0) for n in range(70)]
    )
    await desk.store.store(Series("EUR/USD", Timeframe.H1), hours)  # from Sunday 14:00Z to Wednesday noon
    result = await desk.run(
        symbols=["EUR/USD"], data_source=None, timeframe="1h", operations=["resample"], resample_to=["1d", "1w"]
    )
    daily = await desk.store.between(Series("EUR/USD", Timeframe.D1))
    assert [daily.time_at(i) for i in range(len(daily))] == [FIRST, FIRST + DAY]
    assert (daily.open.tolist(), daily.volume.tolist()) == ([108.0, 132.0], [24.0, 24.0])
    assert result["outcomes"]["EUR/USD"]["resampled"] == {"1d": 2, "1w": 0}


async def test_indicators_and_the_check_are_in_the_result(desk: Desk) -> None:
    result = await desk.run(
        symbols=["AAPL"],
        since="2024-01-01",
        operations=["fetch", "cache", "indicators", "check"],
        indicators=[{"indicator": "sma", "params": {"period": 10}}],
    )
    outcome = result["outcomes"]["AAPL"]
    assert outcome["indicators"] == {"sma(10, close).value": 195.5}
    assert outcome["check"].startswith("AAPL 1d")


async def test_an_infinite_indicator_is_told_as_unknown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IndicatorService, "values", lambda *_: [float("inf")])
    sma = [{"indicator": "sma", "params": {"period": 10}}]
    result = await desk.run(symbols=["AAPL"], operations=["fetch", "cache", "indicators"], indicators=sma)
    assert result["outcomes"]["AAPL"]["indicators"] == {"sma(10, close).value": None}


async def test_a_step_that_cannot_be_noted_fails_the_run_with_the_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise DatabaseUnavailable("the database does not answer")

    monkeypatch.setattr(desk.steps, "finish", refuse)
    with pytest.raises(DatabaseUnavailable, match="the database does not answer"):
        await desk.run(symbols=["AAPL", "MSFT"])


async def test_an_export_is_a_file_with_the_same_bars(desk: Desk) -> None:
    result = await desk.run(
        symbols=["BTCUSDT"], since="2024-01-01", operations=["fetch", "cache", "export"], export_format="csv"
    )
    path = Path(result["outcomes"]["BTC/USDT"]["exported"])
    assert path == desk.folder / "1d" / "BTC_USDT.csv"
    assert len(read_bars(path)) == 100


EXPORT: dict[str, Any] = {
    "since": "2024-01-01",
    "operations": ["fetch", "cache", "export"],
    "export_format": "csv",
}


@pytest.mark.parametrize(
    "symbol", ["../../outside", "/etc/outside", "A/../../outside", "..", "a\\b", "x" * 65, ""]
)
async def test_a_symbol_that_was_written_past_atf_makes_no_file(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, symbol: str
) -> None:
    """A list of symbols that somebody has changed with SQL."""

    async def members(*_: Any) -> Sequence[str]:
        return [symbol, "AAPL"]

    monkeypatch.setattr(Members, "members", members)
    desk.venue.bars[Series(symbol, Timeframe.D1)] = days()
    result = await desk.run(universe="majors", **EXPORT)
    assert result["failed"] == [symbol]
    assert "can be no name of a file" in result["outcomes"][symbol]["error"]
    assert [path.name for path in desk.folder.rglob("*") if path.is_file()] == ["AAPL.csv"]
    assert not [place for place in desk.folder.parents if (place / "outside.csv").exists()]


async def test_an_export_does_not_follow_a_link_out_of_its_folder(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (desk.folder / "1d").symlink_to(elsewhere)
    with pytest.raises(PermanentFailure, match="leads out of"):
        await desk.run(symbols=["AAPL"], **EXPORT)
    assert list(elsewhere.iterdir()) == []


async def test_adjusting_stores_the_factors_of_dividends_and_exports_adjusted_prices(desk: Desk) -> None:
    result = await desk.run(
        symbols=["AAPL"],
        since="2024-01-01",
        operations=["fetch", "cache", "adjust", "export"],
        export_format="csv",
    )
    exported = read_bars(Path(result["outcomes"]["AAPL"]["exported"]))
    assert result["outcomes"]["AAPL"]["adjustments"] == 1
    # The dividend was 6 a share before four were made of each; the prices know that split already.
    assert float(exported.close[0]) == pytest.approx(101.0 * (1 - 1.5 / 150.0))
    assert float(exported.close[-1]) == 200.0


async def test_what_came_of_a_step_is_noted_once(desk: Desk) -> None:
    run_id = RunId(uuid4())
    await desk.steps.begin(run_id, ["AAPL"])
    await desk.steps.finish(run_id, "AAPL", {"status": "ok"})
    await desk.steps.finish(run_id, "AAPL", {"status": "failed"})
    assert await desk.steps.begin(run_id, ["AAPL"]) == {"AAPL": {"status": "ok"}}


async def test_progress_is_how_many_symbols_are_done(desk: Desk) -> None:
    run_id = RunId(uuid4())
    await desk.run(run_id, symbols=["AAPL", "MSFT"])
    done = await desk.rows.all("SELECT count(outcome), count(*) FROM job_run_steps WHERE run_id = :id", id=run_id)
    assert [tuple(row) for row in done] == [(2, 2)]


async def test_steps_of_old_runs_are_deleted(desk: Desk) -> None:
    await desk.run(symbols=["AAPL", "MSFT"])
    await desk.rows.change("UPDATE job_run_steps SET begun_at = now() - interval '8 days' WHERE step = 'AAPL'")
    assert await desk.steps.delete_older(timedelta(days=7), 10) == 1
    assert await desk.rows.value("SELECT step FROM job_run_steps") == "MSFT"
