"""Live alerts and alerts with a calendar on a database: one trigger a bar, whoever looks, and what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.claiming import take

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.adapters.providers.replay import ReplayBarProvider
from atf.alerts.alerts_service import AlertRecord, AlertsService, NewAlert
from atf.alerts.evaluator import AlertEvaluator
from atf.alerts.explainer import AlertExplainer
from atf.alerts.outcome import StoredStates
from atf.alerts.past_bars import PastBars
from atf.errors import InvalidInput
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import ClaimedBatch, JobType, WorkerId
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.provider_lane import ProviderLane
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.schedules_repository import PostgresJobsRepository

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

# pandas and its friends warn of their own age now and then.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

OWNER = 1
BEGIN = datetime(2024, 11, 27, tzinfo=UTC)  # a Wednesday; the 28th is Thanksgiving, the 29th half a day
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
LIVE: Mapping[str, Any] = {
    "ticker": "T",
    "timeframe": "1h",
    "rule": {"indicator": "price", "operator": ">", "value": 5},
    "options": {"evaluate_on": "live"},
}
DAILY: Mapping[str, Any] = {
    "ticker": "D",
    "timeframe": "1d",
    "rule": {"indicator": "price", "operator": ">", "value": 5},
    "calendar": "XNYS",
}


def flat(first: datetime, step: timedelta, closes: Sequence[float]) -> Bars:
    return Bars.from_rows([(first + n * step, close, close, close, close, 1.0) for n, close in enumerate(closes)])


class Together(PostgresAlerts):
    """Nobody goes on before all have loaded."""

    def __init__(self, database: Database, barrier: asyncio.Barrier) -> None:
        super().__init__(database)
        self._barrier = barrier

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        loaded = await super().states(schedule_ids)
        await self._barrier.wait()
        return loaded


@dataclass
class Desk:
    """What alerts need, on bars that are stored and at a time that the test sets."""

    database: Database
    rows: Rows
    clock: FakeMarketClock
    worker: WorkerId
    jobs: JobsService
    service: AlertsService
    data: DataManager
    queue: PostgresRunQueue

    async def add(self, config: Mapping[str, Any], **changes: Any) -> AlertRecord:
        return await self.service.add(OWNER, NewAlert({**config, **changes}))

    def evaluator(self, store: PostgresAlerts | None = None) -> AlertEvaluator:
        return AlertEvaluator(store or PostgresAlerts(self.database), self.queue, self.data, self.clock)

    async def look(self, alert: AlertRecord, at: datetime) -> list[datetime]:
        """Let the alert look at an instant; return the bars that have triggered until now."""
        self.clock.at = at
        await self.jobs.trigger_schedule(OWNER, alert.id)
        await self.evaluator().handle(await self.claim())
        return await self.triggered()

    async def claim(self, *, limit: int = 100, worker: WorkerId | None = None) -> ClaimedBatch:
        worker = worker or self.worker
        return ClaimedBatch(worker, JobType.ALERT, tuple(await take(self.queue, worker, limit)))

    async def triggered(self) -> list[datetime]:
        return await self.rows.column("SELECT bar_time FROM alert_triggers ORDER BY id")


@pytest.fixture
async def desk(database: Database, rows: Rows, market_clock: FakeMarketClock) -> AsyncIterator[Desk]:
    """Hours of 4 until 10:00; the minutes of that hour rise above 5 at 10:17 and fall again at 10:30."""
    market_clock.at = BEGIN + 10 * HOUR
    store = PostgresBarStore(database)
    minutes = [4.0] * 77 + [6.0] * 13 + [4.0] * 30
    await store.store(Series("T", Timeframe.M1), flat(BEGIN + 9 * HOUR, MINUTE, minutes))
    await store.store(Series("T", Timeframe.H1), flat(BEGIN, HOUR, [4.0] * 11 + [6.0] * 5))
    await store.store(Series("D", Timeframe.D1), flat(BEGIN - 2 * DAY, DAY, [4.0, 4.0, 6.0]))
    friday = flat(BEGIN + 2 * DAY, DAY, [4.0])
    await store.store(Series("D", Timeframe.D1), friday)
    data = DataManager(
        Chains([ProviderLane(ReplayBarProvider(store))]),
        store,
        DueBars(ExchangeCalendars()),
        patience=20 * MINUTE,
    )
    jobs = JobsService(PostgresJobsRepository(database), market_clock)
    service = AlertsService(PostgresAlerts(database), jobs, data, market_clock)
    queue = PostgresRunQueue(database)
    yield Desk(database, rows, market_clock, await rows.worker(), jobs, service, data, queue)
    await queue.close()
    await data.close()


async def test_a_live_trigger_is_stored_with_the_instant_at_which_it_was_seen(desk: Desk) -> None:
    alert = await desk.add(LIVE)
    assert await desk.look(alert, BEGIN + 10 * HOUR + 16 * MINUTE) == []
    seen_at = BEGIN + 10 * HOUR + 20 * MINUTE
    assert await desk.look(alert, seen_at) == [BEGIN + 10 * HOUR]
    (trigger,) = await desk.service.triggers(OWNER, alert.id)
    assert (trigger.live_at, trigger.is_late, trigger.readings) == (seen_at, False, {"close": 6.0})
    payload = await desk.rows.value("SELECT payload FROM msg_messages")
    assert (payload["live"], payload["late"]) == (True, False)
    # The hour closes at 4, and the next one is above again.
    assert await desk.look(alert, BEGIN + 11 * HOUR) == [BEGIN + 10 * HOUR]
    assert await desk.look(alert, BEGIN + 12 * HOUR) == [BEGIN + 10 * HOUR, BEGIN + 11 * HOUR]
    newest, _ = await desk.service.triggers(OWNER, alert.id)
    assert newest.live_at is None


async def test_of_two_evaluators_that_see_the_forming_bar_one_triggers(desk: Desk) -> None:
    alert = await desk.add(LIVE)
    desk.clock.at = BEGIN + 10 * HOUR + 20 * MINUTE
    await desk.jobs.trigger_schedule(OWNER, alert.id)
    first = await desk.claim()
    desk.clock.at += MINUTE
    await desk.jobs.trigger_schedule(OWNER, alert.id)
    second = await desk.claim(worker=await desk.rows.worker("second"))
    assert (len(first.runs), len(second.runs)) == (1, 1)
    barrier = asyncio.Barrier(2)
    await asyncio.gather(
        *(desk.evaluator(Together(desk.database, barrier)).handle(batch) for batch in (first, second))
    )
    assert await desk.triggered() == [BEGIN + 10 * HOUR]
    assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 1
    assert await desk.rows.statuses() == {"COMPLETED": 1, "PENDING": 1}
    await desk.evaluator().handle(await desk.claim())
    assert await desk.triggered() == [BEGIN + 10 * HOUR]
    assert await desk.rows.value("SELECT trigger_count FROM alert_states") == 1


async def test_an_alert_that_is_reset_within_a_bar_does_not_use_up_its_triggers_on_it(desk: Desk) -> None:
    alert = await desk.add(LIVE, options={"evaluate_on": "live", "max_triggers": 1})
    await desk.look(alert, BEGIN + 10 * HOUR + 20 * MINUTE)
    state = (await desk.service.get(OWNER, alert.id)).state_json
    assert state is not None
    assert state["status"] == "COMPLETED"
    await desk.service.reset(OWNER, alert.id)
    assert await desk.look(alert, BEGIN + 10 * HOUR + 25 * MINUTE) == [BEGIN + 10 * HOUR]
    assert await desk.look(alert, BEGIN + 12 * HOUR) == [BEGIN + 10 * HOUR, BEGIN + 11 * HOUR]


async def test_a_live_trigger_that_the_close_does_not_bear_out_is_explained(desk: Desk) -> None:
    alert = await desk.add(LIVE)
    await desk.look(alert, BEGIN + 10 * HOUR + 20 * MINUTE)
    await desk.look(alert, BEGIN + 11 * HOUR)
    explainer = AlertExplainer(desk.service, PastBars(desk.data, PostgresBarStore(desk.database)), desk.clock)
    text = (await explainer.explain(OWNER, alert.id, BEGIN + 10 * HOUR)).as_text()
    assert "on the bar as it was at 10:20:00Z, before it closed; close = 6." in text
    assert "would not trigger" not in text


async def test_an_edit_to_live_looks_more_often_unless_the_user_chose_when(desk: Desk) -> None:
    closes = {**LIVE, "options": {}}
    usual = await desk.add(closes)
    chosen = await desk.service.add(OWNER, NewAlert(closes, cron="7 * * * *"))
    edited = [await desk.service.edit(OWNER, one.id, LIVE) for one in (usual, chosen)]
    assert [one.cron for one in edited] == ["* * * * *", "7 * * * *"]
    assert (await desk.service.edit(OWNER, usual.id, closes)).cron == "0 * * * *"


async def test_a_ticker_without_finer_bars_is_not_watched_live(desk: Desk) -> None:
    with pytest.raises(InvalidInput) as refused:
        await desk.add(DAILY, options={"evaluate_on": "live"})
    assert refused.value.field == "options.evaluate_on"
    with pytest.raises(InvalidInput) as refused:
        await desk.add(DAILY, calendar="xnys")
    assert refused.value.field == "calendar"
    assert "did you mean XNYS?" in str(refused.value)
    assert await desk.rows.value("SELECT count(*) FROM job_schedules") == 0


async def test_a_day_is_judged_and_explained_when_its_session_ends(desk: Desk) -> None:
    alert = await desk.add(DAILY)
    assert (alert.cron, alert.timezone) == ("0 13,16 * * *", "America/New_York")
    assert await desk.look(alert, BEGIN + 21 * HOUR - MINUTE) == []
    assert await desk.look(alert, BEGIN + 21 * HOUR) == [BEGIN]
    explainer = AlertExplainer(desk.service, PastBars(desk.data, PostgresBarStore(desk.database)), desk.clock)
    for at in (None, BEGIN, BEGIN + 20 * HOUR):
        explained = await explainer.explain(OWNER, alert.id, at)
        assert (explained.bar.open_time, explained.bar.close_time) == (BEGIN, BEGIN + 21 * HOUR)
        assert explained.bar.is_triggered
        assert explained.is_newest_evaluated
    # The day after Thanksgiving ends at 13:00 in New York; below the level the alert is ready again.
    await desk.look(alert, BEGIN + 2 * DAY + 18 * HOUR)
    state = (await desk.service.get(OWNER, alert.id)).state_json
    assert state is not None
    assert datetime.fromisoformat(state["last_bar"]) == BEGIN + 2 * DAY
    assert state["status"] == "ARMED"
