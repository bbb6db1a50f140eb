"""Several evaluators and users at the same alerts: nothing is decided twice or lost, and nobody deadlocks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.integration.test_alert_commit import ABOVE_5, BEGIN, DAY, OWNER, Desk, WrappedAlerts, desk

from atf.alerts.alert import parse_alert
from atf.errors import TransactionConflict
from atf.jobs.run import ClaimedBatch, WorkerId
from atf.market.bars import Bars, Series, Timeframe
from atf.storage.alert_commit import PostgresAlertCommit
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database

__all__ = ["desk"]


# --- the same alert due twice


class AtOnce(WrappedAlerts):
    """Nobody commits before all are about to; counts transactions that were ended to break a deadlock."""

    deadlocks = 0

    def __init__(self, database: Database, barrier: asyncio.Barrier) -> None:
        super().__init__(database)
        self._barrier: asyncio.Barrier | None = barrier

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[PostgresAlertCommit]:
        barrier, self._barrier = self._barrier, None
        try:
            async with super().commit() as commit:
                if barrier is not None:
                    await barrier.wait()
                yield commit
        except TransactionConflict:
            AtOnce.deadlocks += 1
            raise


@pytest.mark.parametrize("batch_size", [700, 130])
async def test_alerts_due_several_times_in_one_batch_and_in_two_at_once_are_decided_once(
    desk: Desk, batch_size: int
) -> None:
    added = await desk.add()
    await desk.copies(added, 500)
    for day in (2, 3, 4, 5):
        await desk.close_day(day)
    # In no order, so that both batches hold runs of the same alerts, and of some several.
    await desk.rows.change("UPDATE job_schedule_runs SET sort_key = now() - random() * interval '1 hour'")
    workers = [desk.worker, await desk.rows.worker("second")]
    AtOnce.deadlocks = shared = 0
    while await desk.rows.value("SELECT count(*) FROM job_schedule_runs WHERE status = 'PENDING'"):
        batches = [await desk.claim(batch_size, worker=worker) for worker in workers]
        batches = [batch for batch in batches if batch.runs]
        alerts = [{run.job_id for run in batch.runs} for batch in batches]
        shared += len(alerts[0] & alerts[-1]) if len(batches) == 2 else 0
        barrier = asyncio.Barrier(len(batches))
        await asyncio.gather(*(desk.evaluator(AtOnce(desk.database, barrier)).handle(batch) for batch in batches))
    assert shared > 100
    assert AtOnce.deadlocks == 0
    assert await desk.rows.statuses() == {"COMPLETED": 2_000}
    assert await desk.counts() == {"triggers": 1_000, "messages": 1_000, "deliveries": 2_000}
    (state,) = await desk.rows.all("SELECT DISTINCT trigger_count, status FROM alert_states")
    assert tuple(state) == (2, "ARMED")
    told = await desk.rows.column("SELECT count(*) FROM alert_triggers GROUP BY schedule_id, bar_time")
    assert set(told) == {1}


# --- edits while runs are pending


@dataclass(frozen=True)
class Model:
    """What an alert has decided, one bar and one wish after the other: rearm ``edge``, price > ``level``.

    Bars are days. ``judged_level`` is that of the rule that the state belongs to; ``history``: so many bars are
    none of its business; ``triggers`` are (level, day, is muted).
    """

    level: int
    judged_level: int
    history: int
    is_enabled: bool = True
    is_muted: bool = False
    next_bar: int = 0
    is_open: bool = True
    triggers: tuple[tuple[int, int, bool], ...] = ()

    def evaluated(self, closes: Sequence[float]) -> Model:
        """The state after all bars that have closed."""
        if not self.is_enabled:
            return self
        state = self
        if self.level != self.judged_level:
            history = max(self.history, self.next_bar)
            state = replace(self, judged_level=self.level, history=history, next_bar=0, is_open=True)
        for day in range(state.next_bar, len(closes)):
            state = state._stepped(day, is_true=closes[day] > state.level)
        return state

    def _stepped(self, day: int, *, is_true: bool) -> Model:
        if day < self.history:
            return replace(self, next_bar=day + 1)
        is_fired = is_true and self.is_open
        triggers = (*self.triggers, (self.level, day, self.is_muted)) if is_fired else self.triggers
        return replace(self, next_bar=day + 1, is_open=not is_true, triggers=triggers)

    def resumed(self, bars: int) -> Model:
        if self.is_enabled:
            return self
        return replace(self, is_enabled=True, history=max(self.history, bars))

    def reset(self, bars: int) -> Model:
        return replace(self, judged_level=self.level, history=bars, next_bar=0, is_open=True)


WISHES = ("rule", "rule", "message", "pause", "resume", "resume", "mute", "unmute", "reset")
Event = tuple[int, Callable[[Model], Model]]
"""What happened to which alert."""


class Interrupted(WrappedAlerts):
    """Between loading and committing something else happens, once."""

    def __init__(self, database: Database, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(database)
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[PostgresAlertCommit]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        async with super().commit() as commit:
            yield commit


@dataclass
class Contest:
    """Users and evaluators at a few alerts; ``meant`` is what the model makes of each.

    An evaluation counts as one at the moment of its loading, whatever happens before it commits; whether it
    counts at all the database tells of each run.
    """

    desk: Desk
    chance: random.Random
    closes: list[float]
    workers: list[WorkerId]
    day: int = 1
    meant: dict[int, Model] = field(default_factory=dict)

    async def add(self, count: int) -> None:
        for _ in range(count):
            added = await self.desk.add()
            self.meant[added.id] = Model(5, 5, history=2)

    @property
    def closed(self) -> list[float]:
        return self.closes[: self.day + 1]

    def happened(self, *events: Event) -> None:
        for alert, change in events:
            self.meant[alert] = change(self.meant[alert])

    async def next_day(self) -> None:
        self.day += 1
        await self.desk.close_day(self.day)

    async def wish(self) -> Event:
        """Let a user do something to some alert."""
        alert, bars = self.chance.choice(list(self.meant)), len(self.closed)
        service, level = self.desk.service, self.chance.choice((3, 5, 7))
        match self.chance.choice(
            ["rule", "rule", "message", "pause", "resume", "resume", "mute", "unmute", "reset"]
        ):
            case "rule":
                await service.edit(OWNER, alert, config_of(level))
                return alert, lambda model: replace(model, level=level)
            case "message":
                record = await service.get(OWNER, alert)
                notify = {"channels": ["inbox"], "message_template": f"{self.chance.random()}"}
                await service.edit(OWNER, alert, {**record.task_params, "notify": notify})
                return alert, lambda model: model
            case "pause":
                await service.pause(OWNER, alert)
                return alert, lambda model: replace(model, is_enabled=False)
            case "resume":
                await service.resume(OWNER, alert)
                return alert, lambda model: model.resumed(bars)
            case "mute":
                await service.mute(OWNER, alert)
                return alert, lambda model: replace(model, is_muted=True)
            case "unmute":
                await service.unmute(OWNER, alert)
                return alert, lambda model: replace(model, is_muted=False)
            case _:
                await service.reset(OWNER, alert)
                return alert, lambda model: model.reset(bars)

    async def evaluate(self) -> None:
        """Let a worker do some runs; much may happen between its loading and its committing."""
        batch, closed = await self._claimed(0), self.closed
        between: list[Event] = []

        async def meanwhile() -> None:
            for _ in range(self.chance.choice((0, 1, 1, 3, 5))):
                if self.chance.random() < 0.2 and self.day < len(self.closes) - 1:
                    await self.next_day()
                between.append(await self.wish())
            if self.chance.random() < 0.5:
                other = await self._claimed(1)
                await self.desk.evaluator().handle(other)
                between.extend(await self._counted(other, self.closed))

        await self.desk.evaluator(Interrupted(self.desk.database, meanwhile)).handle(batch)
        self.happened(*await self._counted(batch, closed), *between)

    async def _claimed(self, worker: int) -> ClaimedBatch:
        return await self.desk.claim(self.chance.choice((2, 5, 100)), worker=self.workers[worker])

    async def _counted(self, batch: ClaimedBatch, closed: Sequence[float]) -> list[Event]:
        """Return which alerts were evaluated: a run that was overtaken is pending again, or was cancelled."""
        alerts = await self.desk.rows.column(
            "SELECT DISTINCT job_id FROM job_schedule_runs "
            "WHERE id = ANY(CAST(:ids AS bigint[])) AND status = 'COMPLETED'",
            ids=[run.key.id for run in batch.runs],
        )
        return [(alert, lambda model: model.evaluated(closed)) for alert in alerts]

    async def found(self, alert: int) -> tuple[tuple[int, int, bool], ...]:
        rows = await self.desk.rows.all(
            "SELECT rule_hash, bar_time, is_muted FROM alert_triggers WHERE schedule_id = :id ORDER BY id",
            id=alert,
        )
        levels = {parse_alert(config_of(level)).rule_hash: level for level in (3, 5, 7)}
        return tuple((levels[row.rule_hash], (row.bar_time - BEGIN).days, row.is_muted) for row in rows)


def config_of(level: int) -> dict[str, Any]:
    return {**ABOVE_5, "rule": {"indicator": "price", "operator": ">", "value": level}}


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_users_do_while_runs_are_pending_each_alert_decides_as_if_one_after_the_other(
    desk: Desk, seed: int
) -> None:
    chance, days = random.Random(seed), 40
    closes = [1.0, 1.0, *(chance.choice((1.0, 4.0, 6.0, 9.0)) for _ in range(days))]
    bars = Bars.from_rows([(BEGIN + DAY * day, each, each, each, each, 1.0) for day, each in enumerate(closes)])
    await PostgresBarStore(desk.database).store(Series("T", Timeframe.D1), bars)
    contest = Contest(desk, chance, closes, [desk.worker, await desk.rows.worker("second")])
    await contest.add(4)
    while contest.day < len(closes) - 1:
        await contest.next_day()
        for _ in range(chance.randint(0, 2)):
            contest.happened(await contest.wish())
        if chance.random() < 0.7:
            await contest.evaluate()
    while await desk.rows.value("SELECT count(*) FROM job_schedule_runs WHERE status = 'PENDING'"):
        await contest.evaluate()
    assert set(await desk.rows.statuses()) <= {"COMPLETED", "CANCELLED"}  # pausing cancels what waits
    for alert, model in contest.meant.items():
        assert await contest.found(alert) == model.triggers
    told = await desk.rows.column("SELECT dedup_key FROM msg_messages ORDER BY 1")
    assert told == await desk.rows.column("SELECT dedup_key FROM alert_triggers WHERE NOT is_muted ORDER BY 1")
    assert len(told) >= 5


async def test_bars_of_a_pause_stay_history_though_an_evaluation_began_before_it(desk: Desk) -> None:
    """It would store the history that it loaded: the edit lets the state begin anew."""
    added = await desk.add()
    await desk.service.edit(OWNER, added.id, config_of(3))
    await desk.close_day(2)

    async def pause_over_two_days() -> None:
        await desk.service.pause(OWNER, added.id)
        await desk.close_day(4)
        await desk.service.resume(OWNER, added.id)

    await desk.evaluator(Interrupted(desk.database, pause_over_two_days)).handle(await desk.claim())
    await desk.day_ends(5)
    await desk.day_ends(6)
    assert await desk.triggered_days() == [6]
