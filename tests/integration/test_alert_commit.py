"""Alerts from their configuration to what a person is told: stored, evaluated and committed as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.claiming import take

from atf.adapters.providers.replay import ReplayBarProvider
from atf.alerts.alert import compile_alert, fresh_state
from atf.alerts.alerts_service import AlertRecord, AlertsService, NewAlert
from atf.alerts.evaluator import AlertEvaluator, AlertStore
from atf.alerts.outcome import StoredAlert, StoredStates
from atf.alerts.seen import judged_bar
from atf.errors import DatabaseUnavailable, InvalidInput, NotFound
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import ClaimedBatch, Completion, JobType, WorkerId
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.provider_lane import ProviderLane
from atf.schedules.tick import Tick
from atf.storage.alert_commit import PostgresAlertCommit
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.testing.market import OneCalendar

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

OWNER, STRANGER = 1, 2
BEGIN = datetime(2024, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)
CLOSES = (1.0, 1.0, 9.0, 1.0, 9.0, 1.0, 9.0)  # the alert below fires on days 2, 4 and 6
ABOVE_5: Mapping[str, Any] = {
    "ticker": "T",
    "timeframe": "1d",
    "rule": {"indicator": "price", "operator": ">", "value": 5},
    "notify": {"channels": ["console", "inbox"]},
}


@dataclass
class Desk:
    """Everything that pipeline 1 needs, on one database, at a time that the test sets."""

    database: Database
    rows: Rows
    clock: FakeMarketClock
    worker: WorkerId
    service: AlertsService
    data: DataManager
    queue: PostgresRunQueue

    async def add(self, **changes: Any) -> AlertRecord:
        return await self.service.add(OWNER, NewAlert({**ABOVE_5, **changes}))

    async def copies(self, alert: AlertRecord, count: int) -> None:
        """Make the alert one of ``count`` that are alike."""
        await self.rows.change(
            """
            WITH made AS (
                INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, created_at,
                                           effective_from, group_id)
                SELECT user_id, name, job_type, target, task_params, cron, created_at, effective_from, group_id
                FROM job_schedules, generate_series(2, :count) WHERE id = :id RETURNING id)
            INSERT INTO alert_states (schedule_id, gate, status, data_status, rule_hash, history_until, version)
            SELECT made.id, gate, status, data_status, rule_hash, history_until, version
            FROM alert_states, made WHERE schedule_id = :id
            """,
            id=alert.id,
            count=count,
        )

    async def close_day(self, day: int) -> None:
        """Let the bar of a day close and the schedules that wait for it fire."""
        self.clock.at = BEGIN + (day + 1) * DAY
        await Tick(PostgresGroups(self.database, is_replay=False), self.clock).fire_due()

    async def claim(self, limit: int = 10_000, *, worker: WorkerId | None = None) -> ClaimedBatch:
        worker = worker or self.worker
        runs = await take(self.queue, worker, limit)
        return ClaimedBatch(worker, JobType.ALERT, tuple(runs))

    def evaluator(self, store: AlertStore | None = None) -> AlertEvaluator:
        return AlertEvaluator(store or PostgresAlerts(self.database), self.queue, self.data, self.clock)

    async def evaluate(self, store: AlertStore | None = None) -> None:
        await self.evaluator(store).handle(await self.claim())

    async def day_ends(self, day: int) -> None:
        await self.close_day(day)
        await self.evaluate()

    async def triggered_days(self) -> list[int]:
        return [
            (bar_time - BEGIN).days
            for bar_time in await self.rows.column("SELECT bar_time FROM alert_triggers ORDER BY id")
        ]

    async def counts(self) -> dict[str, int]:
        """How many triggers, messages and deliveries there are."""
        tables = {"triggers": "alert_triggers", "messages": "msg_messages", "deliveries": "msg_deliveries"}
        return {name: await self.rows.value(f"SELECT count(*) FROM {table}") for name, table in tables.items()}


@pytest.fixture
async def desk(database: Database, rows: Rows, market_clock: FakeMarketClock) -> AsyncIterator[Desk]:
    """Two days have closed."""
    market_clock.at = BEGIN + 2 * DAY
    bars = Bars.from_rows([(BEGIN + n * DAY, close, close, close, close, 1.0) for n, close in enumerate(CLOSES)])
    await PostgresBarStore(database).store(Series("T", Timeframe.D1), bars)
    jobs = JobsService(PostgresJobsRepository(database), market_clock)
    store = PostgresBarStore(database)
    chains = Chains([ProviderLane(ReplayBarProvider(store))])
    data = DataManager(chains, store, DueBars(OneCalendar()), patience=timedelta(seconds=20))
    service = AlertsService(PostgresAlerts(database), jobs, data, market_clock)
    queue = PostgresRunQueue(database)
    yield Desk(database, rows, market_clock, await rows.worker(), service, data, queue)
    await queue.close()


class WrappedAlerts:
    """An alert store at whose outermost edge a test gets between."""

    def __init__(self, database: Database) -> None:
        self._inner = PostgresAlerts(database)

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        return await self._inner.states(schedule_ids)

    async def configurations(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        return await self._inner.configurations(schedule_ids)

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[PostgresAlertCommit]:
        async with self._inner.commit() as commit:
            yield commit


class Renamed(WrappedAlerts):
    """One alert has a name that no database holds."""

    def __init__(self, database: Database, schedule_id: int) -> None:
        super().__init__(database)
        self._schedule_id = schedule_id

    async def configurations(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        loaded = await super().configurations(schedule_ids)
        return [
            replace(one, name="nul \0 byte") if one.schedule_id == self._schedule_id else one for one in loaded
        ]


class Together(WrappedAlerts):
    """Nobody goes on before all have loaded."""

    def __init__(self, database: Database, barrier: asyncio.Barrier) -> None:
        super().__init__(database)
        self._barrier = barrier

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        loaded = await super().states(schedule_ids)
        await self._barrier.wait()
        return loaded


class Broken(WrappedAlerts):
    """The database goes away at the last statement of a commit."""

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[PostgresAlertCommit]:
        async def fail(worker_id: WorkerId, completions: Sequence[Completion]) -> frozenset[int]:
            raise DatabaseUnavailable("gone")

        async with super().commit() as commit:
            commit.runs = fail  # type: ignore[method-assign]
            yield commit


async def test_an_alert_is_stored_with_its_first_state(desk: Desk) -> None:
    added = await desk.add()
    assert (added.name, added.cron, added.enabled) == ("T 1d", "0 0 * * *", True)
    assert added.task_params == ABOVE_5
    assert added.next_run_at == BEGIN + 3 * DAY
    assert await desk.service.get(OWNER, added.id) == added
    assert await desk.service.list_alerts(OWNER) == [added]


async def test_the_states_json_has_all_that_an_alert_remembers(desk: Desk) -> None:
    added = await desk.add()
    assert added.state_json is not None
    assert {
        name: value
        for name, value in added.state_json.items()
        if name not in ("rule_hash", "updated_at", "history_until")
    } == {
        "gate": "open",
        "count": 0,
        "cooldown_until": None,
        "last_bar": None,
        "last_trigger_bar": None,
        "trigger_count": 0,
        "sides": {},
        "status": "ARMED",
        "data_status": "ok",
        "muted_until": None,
        "version": 0,
    }
    await desk.day_ends(2)
    state = (await desk.service.get(OWNER, added.id)).state_json
    assert state is not None
    assert (state["status"], state["gate"], state["trigger_count"], state["version"]) == (
        "TRIGGERED",
        "closed",
        1,
        1,
    )
    assert datetime.fromisoformat(state["last_trigger_bar"]) == BEGIN + 2 * DAY


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (NewAlert({**ABOVE_5, "ticker": "NONE"}), "ticker"),
        (NewAlert({**ABOVE_5, "timeframe": "1h"}), "ticker"),
        (NewAlert({**ABOVE_5, "rule": {"indicator": "magic", "operator": ">", "value": 5}}), "rule.indicator"),
        (NewAlert({**ABOVE_5, "colour": "red"}), "colour"),
        (NewAlert(ABOVE_5, name="nul \0 byte"), "name"),
        (NewAlert(ABOVE_5, cron="61 * * * *"), "cron"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_of_a_refused_alert_nothing_is_stored(desk: Desk, new: NewAlert, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await desk.service.add(OWNER, new)
    assert caught.value.field == field
    for table in ("job_schedules", "schedule_groups", "alert_states"):
        assert await desk.rows.value(f"SELECT count(*) FROM {table}") == 0


async def test_another_users_alert_is_not_found(desk: Desk) -> None:
    await desk.rows.change("INSERT INTO users (name, role) VALUES ('stranger', 'trader')")
    added = await desk.add()
    service = desk.service
    for forbidden in (service.get, service.triggers, service.pause, service.resume, service.delete):
        with pytest.raises(NotFound):
            await forbidden(STRANGER, added.id)
    assert await service.list_alerts(STRANGER) == []


async def test_a_trigger_appears_with_its_state_result_message_and_deliveries(desk: Desk) -> None:
    added = await desk.add()
    await desk.day_ends(2)
    assert await desk.counts() == {"triggers": 1, "messages": 1, "deliveries": 2}
    (trigger,) = await desk.service.triggers(OWNER, added.id)
    assert (trigger.bar_time, trigger.trigger_number, trigger.is_late) == (BEGIN + 2 * DAY, 1, False)
    assert list(trigger.readings.values()) == [9.0]
    (run,) = await desk.rows.all("SELECT * FROM job_schedule_runs")
    assert (run.status, run.result["bars_evaluated"]) == ("COMPLETED", 1)
    assert run.result["triggers"] == [(BEGIN + 2 * DAY).isoformat()]
    assert await desk.rows.column("SELECT dedup_key FROM msg_messages") == [trigger.dedup_key]
    assert await desk.rows.column("SELECT dedup_key FROM msg_deliveries ORDER BY id") == [
        f"{trigger.dedup_key}:console",
        f"{trigger.dedup_key}:inbox",
    ]


async def test_a_trigger_keeps_why_it_was_decided(desk: Desk) -> None:
    added = await desk.add()
    await desk.day_ends(2)
    (trigger,) = await desk.service.triggers(1, added.id)
    assert trigger.explanation is not None
    tree = trigger.explanation["rule"]
    assert (tree["truth"], tree["values"]["close"]) == ("true", trigger.readings["close"])
    assert (trigger.explanation["before"]["gate"], trigger.explanation["after"]["gate"]) == ("open", "closed")


async def test_what_the_last_evaluation_saw_is_kept_and_goes_with_its_rule(desk: Desk) -> None:
    added = await desk.add()
    assert await desk.service.last_seen(added) is None
    for day, close in ((2, 9.0), (3, 1.0)):
        await desk.day_ends(day)
        stored = await desk.service.get(OWNER, added.id)
        alert, kept = compile_alert(stored.task_params), await desk.service.last_seen(stored)
        assert kept is not None
        seen = judged_bar(alert, kept, fresh_state(alert, BEGIN))
        assert seen is not None
        assert seen.values == (close, 5.0)
    await desk.rows.pending_runs(1, first_job_id=added.id)
    await desk.evaluate()  # no new bar
    assert await desk.service.last_seen(stored) is None, "the state has moved on"
    assert await desk.service.last_seen(await desk.service.get(OWNER, added.id)) == kept
    await desk.rows.change("DELETE FROM job_schedule_runs")
    await desk.service.edit(OWNER, added.id, {**ABOVE_5, "rule": {**ABOVE_5["rule"], "value": 6}})
    await desk.rows.pending_runs(1, first_job_id=added.id)
    await desk.evaluate()  # the rule is another, and no bar has closed since
    assert await desk.service.last_seen(await desk.service.get(OWNER, added.id)) is None


async def test_a_batch_never_reads_the_whole_table_of_states(desk: Desk, database_url: str) -> None:
    """The planner takes a hash join with all of it for cheap, as soon as a batch is a fortieth of all alerts."""
    size = 500
    added = await desk.add()
    await desk.copies(added, 20_000)
    for table in ("alert_states", "job_schedules"):
        await desk.rows.change(f"ANALYZE {table}")
    await desk.close_day(2)
    own = Database(database_url)  # its connections tell what they have read when they are closed
    queue = PostgresRunQueue(own)
    batch = ClaimedBatch(desk.worker, JobType.ALERT, tuple(await take(queue, desk.worker, size)))
    await AlertEvaluator(PostgresAlerts(own), queue, desk.data, desk.clock).handle(batch)
    await queue.close()
    await own.close()
    assert await desk.triggered_days() == [2] * size
    reads = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'alert_states'"
    for _ in range(100):  # a closed connection's backend needs a moment to tell
        (told,) = await desk.rows.all(reads)
        if told.idx_scan >= size:
            break
        await asyncio.sleep(0.05)
    assert told.idx_scan >= size
    assert told.seq_scan == 0


async def test_a_commit_that_breaks_off_leaves_nothing_and_is_done_again(desk: Desk) -> None:
    await desk.add()
    await desk.close_day(2)
    before = await desk.rows.all("SELECT * FROM alert_states")
    with pytest.raises(DatabaseUnavailable):
        await desk.evaluate(Broken(desk.database))
    assert await desk.counts() == {"triggers": 0, "messages": 0, "deliveries": 0}
    assert await desk.rows.all("SELECT * FROM alert_states") == before
    assert await desk.rows.statuses() == {"RUNNING": 1}
    await desk.queue.hand_back(desk.worker)
    await desk.evaluate()
    assert await desk.counts() == {"triggers": 1, "messages": 1, "deliveries": 2}


async def test_bars_that_were_missed_are_caught_up_one_by_one(desk: Desk) -> None:
    await desk.add()
    await desk.day_ends(6)
    assert await desk.triggered_days() == [2, 4, 6]
    assert await desk.rows.column("SELECT is_late FROM alert_triggers ORDER BY id") == [True, False, False]
    assert await desk.rows.column("SELECT trigger_number FROM alert_triggers ORDER BY id") == [1, 2, 3]
    assert await desk.counts() == {"triggers": 3, "messages": 3, "deliveries": 6}


async def test_catching_up_decides_as_going_day_by_day(desk: Desk) -> None:
    await desk.add()
    for day in range(2, 7):
        await desk.day_ends(day)
    assert await desk.triggered_days() == [2, 4, 6]
    assert await desk.rows.statuses() == {"COMPLETED": 5}


async def test_the_same_bars_again_trigger_nothing(desk: Desk) -> None:
    added = await desk.add()
    await desk.day_ends(2)
    await desk.rows.pending_runs(1, first_job_id=added.id)
    await desk.evaluate()
    assert await desk.triggered_days() == [2]
    assert await desk.rows.statuses() == {"COMPLETED": 2}
    assert (
        await desk.rows.value(
            "SELECT result ->> 'bars_evaluated' FROM job_schedule_runs ORDER BY id DESC LIMIT 1"
        )
        == "0"
    )


async def test_a_state_that_was_set_back_by_hand_neither_repeats_a_trigger_nor_hurts_others(desk: Desk) -> None:
    first = await desk.add()
    second = await desk.add(rule={"indicator": "price", "operator": "<", "value": 5})
    await desk.day_ends(2)
    await desk.rows.change(
        "UPDATE alert_states SET last_bar = NULL, gate = 'open' WHERE schedule_id = :id", id=first.id
    )
    await desk.day_ends(3)
    assert await desk.rows.statuses() == {"COMPLETED": 4}
    triggers = await desk.rows.all("SELECT schedule_id, bar_time FROM alert_triggers ORDER BY id")
    assert [tuple(row) for row in triggers] == [(first.id, BEGIN + 2 * DAY), (second.id, BEGIN + 3 * DAY)]
    assert await desk.counts() == {"triggers": 2, "messages": 2, "deliveries": 4}


async def test_a_lost_state_begins_anew_with_the_bars_to_come(desk: Desk) -> None:
    await desk.add()
    await desk.rows.change("DELETE FROM alert_states")
    await desk.day_ends(2)
    assert await desk.triggered_days() == []
    await desk.day_ends(3)
    await desk.day_ends(4)
    assert await desk.triggered_days() == [4]


@pytest.mark.parametrize("sides", ["[1]", '{"0": "middle"}', '{"0": [1]}', '"above"'])
async def test_a_spoilt_state_begins_anew_with_the_bars_to_come(desk: Desk, sides: str) -> None:
    await desk.add()
    await desk.rows.change("UPDATE alert_states SET sides = CAST(:sides AS jsonb)", sides=sides)
    await desk.day_ends(2)
    assert await desk.rows.statuses() == {"COMPLETED": 1}
    assert await desk.triggered_days() == []
    assert await desk.rows.value("SELECT sides FROM alert_states") == {}
    await desk.day_ends(3)
    await desk.day_ends(4)
    assert await desk.triggered_days() == [4]


async def test_the_bars_of_a_pause_are_history(desk: Desk) -> None:
    added = await desk.add()
    await desk.service.pause(OWNER, added.id)
    await desk.day_ends(2)
    await desk.service.resume(OWNER, added.id)
    await desk.day_ends(3)
    assert await desk.triggered_days() == []
    await desk.day_ends(4)
    assert await desk.triggered_days() == [4]


async def test_a_run_of_an_alert_that_does_not_exist_is_skipped(desk: Desk) -> None:
    added = await desk.add()
    await desk.close_day(2)
    await desk.rows.pending_runs(1, first_job_id=2**40)
    await desk.evaluate()
    results = await desk.rows.all(
        "SELECT job_id, status, result ->> 'skipped' FROM job_schedule_runs ORDER BY job_id"
    )
    assert [tuple(row) for row in results] == [(added.id, "COMPLETED", None), (2**40, "COMPLETED", "deleted")]


async def test_one_alert_of_a_thousand_that_raises_and_one_that_cannot_be_stored_fail_alone(desk: Desk) -> None:
    added = await desk.add()
    await desk.copies(added, 1_000)
    await desk.close_day(2)
    ids = await desk.rows.column("SELECT id FROM job_schedules ORDER BY id")
    corrupt, unstorable = ids[500], ids[700]
    await desk.rows.change("""UPDATE job_schedules SET task_params = '{"rule": 1}' WHERE id = :id""", id=corrupt)
    await desk.evaluate(Renamed(desk.database, unstorable))
    assert await desk.rows.statuses() == {"COMPLETED": 998, "FAILED": 2}
    failed = await desk.rows.all(
        "SELECT job_id, error FROM job_schedule_runs WHERE status = 'FAILED' ORDER BY job_id"
    )
    assert [row.job_id for row in failed] == [corrupt, unstorable]
    assert [row.error.partition(":")[0] for row in failed] == ["InvalidAlertRule", "UnstorableData"]
    assert await desk.counts() == {"triggers": 998, "messages": 998, "deliveries": 1996}
    told = set(await desk.rows.column("SELECT schedule_id FROM alert_triggers"))
    assert told == set(ids) - {corrupt, unstorable}
    assert await desk.rows.column("SELECT schedule_id FROM alert_states WHERE version = 0 ORDER BY 1") == [
        corrupt,
        unstorable,
    ]


async def test_of_two_evaluators_with_the_same_state_one_commits_and_the_other_looks_again(desk: Desk) -> None:
    await desk.add()
    await desk.close_day(2)
    await desk.close_day(3)
    batches = [await desk.claim(1), await desk.claim(1, worker=await desk.rows.worker("second"))]
    barrier = asyncio.Barrier(2)
    await asyncio.gather(*(desk.evaluator(Together(desk.database, barrier)).handle(batch) for batch in batches))
    assert await desk.rows.statuses() == {"COMPLETED": 1, "PENDING": 1}
    assert await desk.counts() == {"triggers": 1, "messages": 1, "deliveries": 2}
    await desk.evaluate()
    assert await desk.rows.statuses() == {"COMPLETED": 2}
    assert await desk.counts() == {"triggers": 1, "messages": 1, "deliveries": 2}


async def test_evaluators_at_once_decide_each_trigger_once(desk: Desk) -> None:
    added = await desk.add()
    await desk.copies(added, 100)
    for day in (2, 3, 4):
        await desk.close_day(day)
    barrier = asyncio.Barrier(3)
    batches = [await desk.claim(100, worker=await desk.rows.worker(f"w{n}")) for n in range(3)]
    await asyncio.gather(*(desk.evaluator(Together(desk.database, barrier)).handle(batch) for batch in batches))
    await desk.evaluate()
    assert await desk.rows.statuses() == {"COMPLETED": 300}
    assert await desk.counts() == {"triggers": 200, "messages": 200, "deliveries": 400}


async def test_what_was_taken_from_an_evaluator_is_not_committed_by_it(desk: Desk) -> None:
    await desk.add()
    await desk.close_day(2)
    late = await desk.claim()
    await desk.queue.hand_back(desk.worker)
    second = await desk.claim(worker=await desk.rows.worker("second"))
    await desk.evaluator().handle(late)
    assert await desk.counts() == {"triggers": 0, "messages": 0, "deliveries": 0}
    await desk.evaluator().handle(second)
    assert await desk.triggered_days() == [2]


async def test_triggers_are_listed_newest_first(desk: Desk) -> None:
    added = await desk.add()
    await desk.day_ends(6)
    triggers = await desk.service.triggers(OWNER, added.id, limit=2)
    assert [(trigger.bar_time - BEGIN).days for trigger in triggers] == [6, 4]
