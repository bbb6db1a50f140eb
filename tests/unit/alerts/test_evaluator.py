import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from atf.alerts.alert import fresh_state, parse_alert
from atf.alerts.evaluation import evaluate
from atf.alerts.evaluator import AlertCommit, AlertEvaluator
from atf.alerts.loading import CompiledRules
from atf.alerts.outcome import NO_STATE, Outcomes, StoredAlert, StoredStates
from atf.alerts.state import NEVER, AlertState, AlertStatus, Gate, StateColumns
from atf.errors import InvalidAlertRule, NotFound, TemporaryFailure, TransactionConflict, UnstorableData
from atf.indicators.indicator_service import IndicatorService
from atf.jobs.run import ClaimedBatch, ClaimedRun, Completion, Failure, JobType, RunId, RunKey, WorkerId
from atf.market.bars import Bars, Series, Timeframe, to_nanoseconds
from atf.market.provider import ProviderTraits
from atf.notifications.message import ACTION, OutgoingMessage
from atf.rules.operands import Constant
from atf.testing.market import open_market

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WORKER = WorkerId("worker-1")
NAN = float("nan")


def hourly(symbol: str) -> Series:
    return Series(symbol, Timeframe.H1)


def bars_of(*closes: float) -> Bars:
    return Bars.from_rows(
        [(BEGIN + HOUR * i, close, close, close, close, 100.0) for i, close in enumerate(closes)]
    )


def config(symbol: str = "T", level: object = 5, **fields: Any) -> dict[str, Any]:
    rule = {"indicator": "price", "operator": ">", "value": level}
    return {"ticker": symbol, "timeframe": "1h", "rule": rule, **fields}


@dataclass(frozen=True)
class Kept:
    """An alert with its state, as a test sees it in one piece; ``state`` is None if it was lost."""

    schedule_id: int
    config: Mapping[str, Any]
    state: AlertState | None
    version: int = 1
    is_active: bool = True
    muted_until: datetime | None = None


def stored(schedule_id: int, configuration: Mapping[str, Any] | None = None, **fields: Any) -> Kept:
    document = config() if configuration is None else configuration
    try:
        state = fresh_state(parse_alert(document), BEGIN - HOUR)
    except InvalidAlertRule:
        state = AlertState(rule_hash="")
    return Kept(schedule_id, document, state, **fields)


def run_of(run_id: int, job_id: int | None, hour: int = 1, version: int = 1) -> ClaimedRun:
    return ClaimedRun(
        key=RunKey("alert", BEGIN + HOUR * hour, run_id),
        run_id=RunId(UUID(int=run_id)),
        job_type=JobType.ALERT,
        job_id=job_id,
        user_id=1,
        attempt=1,
        max_attempts=10,
        snapshot={"version": version},
        version=str(version),
    )


@dataclass
class Committed:
    """What has been committed."""

    states: dict[int, AlertState] = field(default_factory=dict)
    triggers: list[tuple[int, datetime]] = field(default_factory=list)
    messages: list[OutgoingMessage] = field(default_factory=list)
    results: dict[int, Completion] = field(default_factory=dict)


class FakeCommit:
    """One transaction: it applies everything at its end, or nothing."""

    def __init__(self, store: "FakeStore") -> None:
        self._store = store
        self._work = Committed()

    async def held(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> frozenset[int]:
        return frozenset(run.key.id for run in runs) - self._store.taken_away

    async def unchanged(self, outcomes: Outcomes) -> Sequence[int]:
        return [row for row, number in enumerate(outcomes.ids.tolist()) if number not in self._store.changed]

    async def states(self, outcomes: Outcomes) -> None:
        for row, loaded in enumerate(outcomes.loaded):
            number, found = loaded.stored.schedule_id, outcomes.evaluated
            before = self._store.alerts[number].state or AlertState("")
            sides = found.sides.get(row, {} if outcomes.is_renewed[row] else before.sides)
            before = replace(before, rule_hash=loaded.alert.rule_hash)
            self._work.states[number] = found.states.state(row, before, sides)

    async def triggers(self, outcomes: Outcomes) -> None:
        ids = outcomes.ids.tolist()
        self._work.triggers += [(ids[row], trigger.bar_time) for row, trigger in outcomes.triggers()]

    async def roles(self, user_ids: Collection[int]) -> Mapping[int, str]:
        self._store.asked_roles.append(sorted(user_ids))
        return {one: role for one, role in self._store.roles.items() if one in user_ids}

    async def outbox(self, messages: Sequence[OutgoingMessage]) -> None:
        if any(message.payload["alert_id"] in self._store.unstorable for message in messages):
            raise UnstorableData("the database refuses the data")
        self._work.messages += messages

    async def runs(self, worker_id: WorkerId, completions: Sequence[Completion]) -> frozenset[int]:
        held = [one for one in completions if one.run.key.id not in self._store.taken_away]
        self._work.results |= {completion.run.key.id: completion for completion in held}
        return frozenset(completion.run.key.id for completion in held)

    def apply(self) -> None:
        done, work = self._store.done, self._work
        done.states |= work.states
        done.triggers += work.triggers
        done.messages += work.messages
        done.results |= work.results


class FakeStore:
    """Alerts in memory; what is in the sets behaves badly."""

    def __init__(self, *alerts: Kept) -> None:
        self.alerts = {alert.schedule_id: alert for alert in alerts}
        self.done = Committed()
        self.taken_away: frozenset[int] = frozenset()
        self.changed: frozenset[int] = frozenset()
        self.unstorable: frozenset[int] = frozenset()
        self.roles = {1: "trader"}
        self.asked_roles: list[list[int]] = []
        self.conflicts = 0
        self.commits = 0
        self.is_open = False

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        kept = [self.alerts[one] for one in schedule_ids if one in self.alerts]
        states = [one.state or AlertState("") for one in kept]
        return StoredStates(
            np.array([one.schedule_id for one in kept], dtype=np.int64),
            np.array([one.version for one in kept], dtype=np.int64),
            np.array([one.is_active for one in kept], dtype=np.bool_),
            np.array([NO_STATE if one.state is None else one.state.version for one in kept], dtype=np.int64),
            np.array([one.state is not None for one in kept], dtype=np.bool_),
            StateColumns.of(states),
            [state.rule_hash for state in states],
            np.array([NEVER if one.muted_until is None else to_nanoseconds(one.muted_until) for one in kept]),
            {row: state.sides for row, state in enumerate(states) if state.sides},
        )

    async def configurations(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        return [
            StoredAlert(
                one.schedule_id,
                1,
                f"alert {one.schedule_id}",
                json.dumps(one.config),
                one.version,
                BEGIN - HOUR,
            )
            for number in schedule_ids
            if (one := self.alerts.get(number)) is not None
        ]

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[AlertCommit]:
        self.commits += 1
        self.is_open = True
        work = FakeCommit(self)
        try:
            yield work
            if self.conflicts:
                self.conflicts -= 1
                raise TransactionConflict("deadlock detected")
            work.apply()
        finally:
            self.is_open = False

    def keep(self) -> None:
        """What was committed is what the next evaluation loads."""
        for schedule_id, state in self.done.states.items():
            self.alerts[schedule_id] = replace(self.alerts[schedule_id], state=state)


class FakeQueue:
    """Notes what is put back and what fails."""

    def __init__(self) -> None:
        self.back: list[tuple[int, timedelta]] = []
        self.failures: dict[int, Failure] = {}

    async def put_back(self, worker_id: WorkerId, runs: Sequence[ClaimedRun], delay: timedelta) -> None:
        self.back += [(run.key.id, delay) for run in runs]

    async def fail(self, worker_id: WorkerId, failures: Sequence[Failure]) -> None:
        self.failures |= {failure.run.key.id: failure for failure in failures}


class FakeProvider:
    """Has the bars that it was given; a series without any is not ready."""

    name = "fake"
    traits = ProviderTraits(is_local=True)

    def __init__(self, bars: Mapping[str, Bars | None], is_in_transaction: Callable[[], bool]) -> None:
        self.bars = bars
        self.asked: list[tuple[str, int]] = []
        self._is_in_transaction = is_in_transaction

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        assert not self._is_in_transaction()
        self.asked.append((series.symbol, count))
        if series.symbol not in self.bars:
            raise NotFound(f"no bars of {series}")
        bars = self.bars[series.symbol]
        if bars is None:
            raise TemporaryFailure("busy")
        return bars.closed_at(until, series.timeframe).last(count)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        return symbol in self.bars

    async def symbols(self) -> Sequence[str]:
        return list(self.bars)


class FakeMarketClock:
    is_replay = False

    def __init__(self, now: datetime) -> None:
        self.time = now

    async def now(self) -> datetime:
        return self.time

    async def step(self) -> bool:
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        return instant


class World:
    """An evaluator among fakes."""

    def __init__(self, *alerts: Kept, **bars: Bars | None) -> None:
        self.store = FakeStore(*alerts)
        self.queue = FakeQueue()
        self.provider = FakeProvider(bars or {"T": bars_of(4, 6)}, lambda: self.store.is_open)
        self.clock = FakeMarketClock(BEGIN + HOUR * 2)
        self.evaluator = AlertEvaluator(self.store, self.queue, open_market(self.provider), self.clock)

    async def handle(self, *runs: ClaimedRun) -> Committed:
        await self.evaluator.handle(ClaimedBatch(WORKER, JobType.ALERT, runs))
        return self.store.done


async def test_state_result_trigger_and_message_are_one_commit() -> None:
    world = World(stored(1))
    done = await world.handle(run_of(10, 1))
    assert world.store.commits == 1
    assert done.states[1].status is AlertStatus.TRIGGERED
    assert done.triggers == [(1, BEGIN + HOUR)]
    assert [message.channels for message in done.messages] == [("inbox",)]
    assert done.results[10].result == {
        "bars_evaluated": 2,
        "triggers": [(BEGIN + HOUR).isoformat()],
        "status": "TRIGGERED",
        "data_status": "ok",
    }
    assert (world.queue.back, world.queue.failures) == ([], {})


async def test_series_is_fetched_once_and_as_far_as_any_alert_needs() -> None:
    average = config(rule={"indicator": "sma", "params": {"period": 50}, "operator": ">", "value": 5})
    world = World(stored(1), stored(2, average), stored(3, config(level=9)))
    await world.handle(run_of(10, 1), run_of(11, 2), run_of(12, 3))
    # Closes at hours 0, 1 and 2 are not history, one is spare; sma(50) reads 1000 bars up to the first of them.
    assert world.provider.asked == [("T", 1000 + 4)]


async def test_what_one_batch_computed_serves_the_next_ones_until_the_bars_are_others() -> None:
    def average(period: int) -> dict[str, Any]:
        rule = {"indicator": "sma", "params": {"period": period}, "operator": ">", "value": 5}
        return config(rule=rule, rearm={"type": "simple"})

    world = World(stored(1, average(3)), stored(2, average(3)), stored(3, average(2)), T=bars_of(4, 6, 8, 7))
    world.clock.time = BEGIN + 4 * HOUR
    computed = []
    for number in (1, 2, 3):
        await world.handle(run_of(9 + number, number))
        computed.append(world.evaluator.calculations)
    assert computed[0] == computed[1] < computed[2]
    world.provider.bars = {"T": bars_of(4, 6, 8, 1)}  # revised
    world.store.alerts[2] = stored(2, average(3))
    done = await world.handle(run_of(20, 2))
    assert world.evaluator.calculations > computed[2]
    assert done.triggers.count((2, BEGIN + 2 * HOUR)) == 2
    assert done.triggers.count((2, BEGIN + 3 * HOUR)) == 1


async def test_who_needs_fewer_bars_asks_for_those_on_which_an_earlier_batch_computed() -> None:
    average = config(rule={"indicator": "sma", "params": {"period": 10}, "operator": ">", "value": 500})
    world = World(stored(1, average), stored(2, average), stored(3), T=bars_of(*range(1, 700)))
    world.clock.time = BEGIN + 699 * HOUR
    for number in (1, 2):
        world.store.alerts[number] = replace(
            world.store.alerts[number], state=replace(fresh_state(parse_alert(average), BEGIN + 697 * HOUR))
        )
    await world.handle(run_of(10, 1))
    world.store.alerts[3] = replace(
        world.store.alerts[3], state=fresh_state(parse_alert(config()), world.clock.time)
    )
    await world.handle(run_of(11, 3))
    await world.handle(run_of(12, 2))
    first, second, third = (count for _, count in world.provider.asked)
    assert first == second == third > 100
    assert world.evaluator.calculations == 2  # one for each new bar


async def test_alert_whose_indicator_raises_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = IndicatorService.outputs

    def breaks_at_7(self: Any, indicator: Any, request: Any, columns: Any) -> Any:
        if request.integer("period") == 7:
            raise ZeroDivisionError("one mistake")
        return computed(self, indicator, request, columns)

    monkeypatch.setattr(IndicatorService, "outputs", breaks_at_7)
    averages = [{"indicator": "sma", "params": {"period": n}, "operator": ">", "value": 5} for n in range(1, 10)]
    world = World(*(stored(number, config(rule=rule)) for number, rule in enumerate(averages, start=1)))
    done = await world.handle(*(run_of(number, number) for number in range(1, 10)))
    assert set(done.results) == set(done.states) == {1, 2, 3, 4, 5, 6, 8, 9}
    assert set(world.queue.failures) == {7}
    assert world.queue.failures[7].is_permanent


async def test_alert_that_cannot_be_judged_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_for_7(roster: Any, *args: Any) -> Any:
        if any(alert.operands[1] == Constant(7) for alert in roster.alerts):
            raise ZeroDivisionError("one mistake")
        return evaluate(roster, *args)

    monkeypatch.setattr("atf.alerts.evaluator.evaluate", breaks_for_7)
    world = World(*(stored(number, config(level=number)) for number in range(1, 10)))
    done = await world.handle(*(run_of(number, number) for number in range(1, 10)))
    assert set(done.results) == set(done.states) == {1, 2, 3, 4, 5, 6, 8, 9}
    assert set(world.queue.failures) == {7}


async def test_configuration_that_cannot_be_read_fails_alone() -> None:
    broken = stored(2, {"ticker": "T"})
    world = World(stored(1), broken, stored(3))
    done = await world.handle(run_of(10, 1), run_of(11, 2), run_of(12, 3))
    assert set(done.results) == {10, 12}
    assert isinstance(world.queue.failures[11].error, InvalidAlertRule)


async def test_what_the_database_refuses_is_halved_until_the_culprit_fails_alone() -> None:
    world = World(*(stored(number) for number in range(1, 12)))
    world.store.unstorable = frozenset({4, 9})
    done = await world.handle(*(run_of(number, number) for number in range(1, 12)))
    assert set(done.results) == set(done.states) == set(range(1, 12)) - {4, 9}
    assert len(done.messages) == 9
    assert {number: failure.is_permanent for number, failure in world.queue.failures.items()} == {
        4: True,
        9: True,
    }


async def test_conflict_repeats_the_transaction_and_not_the_fetching() -> None:
    world = World(stored(1))
    world.store.conflicts = 4
    done = await world.handle(run_of(10, 1))
    assert world.store.commits == 5
    assert len(world.provider.asked) == 1
    assert (len(done.triggers), len(done.messages), set(done.results)) == (1, 1, {10})


async def test_conflict_that_does_not_end_is_left_to_the_worker() -> None:
    world = World(stored(1))
    world.store.conflicts = 100
    with pytest.raises(TransactionConflict):
        await world.handle(run_of(10, 1))
    assert (world.store.commits, world.store.done.states) == (5, {})


async def test_alert_none_of_whose_runs_is_held_is_not_committed() -> None:
    world = World(stored(1), stored(2))
    world.store.taken_away = frozenset({10, 11})
    done = await world.handle(run_of(10, 1), run_of(11, 1, hour=2), run_of(12, 2))
    assert set(done.states) == {2}
    assert set(done.results) == {12}
    assert len(done.messages) == 1
    assert (world.queue.back, world.queue.failures) == ([], {})


async def test_of_several_runs_the_newest_tells_and_covers_the_others() -> None:
    world = World(stored(1))
    newest = run_of(11, 1, hour=9)
    done = await world.handle(run_of(10, 1, hour=2), newest, run_of(12, 1, hour=3))
    assert done.results[11].result["bars_evaluated"] == 2
    covered = {"covered_by": str(newest.run_id)}
    assert done.results[10].result == done.results[12].result == covered
    assert len(done.messages) == 1


async def test_result_is_told_by_a_run_that_is_still_held() -> None:
    """A run that is covered by one which another worker does again would hide what was evaluated."""
    world = World(stored(1))
    world.store.taken_away = frozenset({11})
    done = await world.handle(run_of(10, 1, hour=2), run_of(11, 1, hour=9))
    assert set(done.results) == {10}
    assert done.results[10].result["bars_evaluated"] == 2


async def test_alert_that_changed_meanwhile_is_put_back_at_no_cost() -> None:
    world = World(stored(1), stored(2))
    world.store.changed = frozenset({1})
    world.store.taken_away = frozenset({11})
    done = await world.handle(run_of(10, 1), run_of(11, 1, hour=0), run_of(12, 2))
    assert (set(done.results), set(done.states)) == ({12}, {2})
    assert [message.payload["alert_id"] for message in done.messages] == [2]
    assert world.queue.back == [(10, timedelta(0))]
    assert world.queue.failures == {}


async def test_late_series_delays_only_its_own_alerts() -> None:
    world = World(stored(1, config("SLOW")), stored(2), SLOW=None, T=bars_of(4, 6))
    done = await world.handle(run_of(10, 1), run_of(11, 2))
    assert world.queue.back == [(10, timedelta(seconds=1))]
    assert set(done.results) == {11}
    assert world.queue.failures == {}


async def test_series_that_nobody_knows_fails_its_runs() -> None:
    world = World(stored(1, config("GONE")), stored(2))
    done = await world.handle(run_of(10, 1), run_of(11, 1, hour=2), run_of(12, 2))
    assert set(world.queue.failures) == {10, 11}
    assert "no bars of GONE" in str(world.queue.failures[10].error)
    assert set(done.results) == {12}


@pytest.mark.parametrize("status", [AlertStatus.COMPLETED, AlertStatus.EXPIRED])
async def test_paused_deleted_and_final_alerts_are_skipped(status: AlertStatus) -> None:
    final = stored(2)
    assert final.state is not None
    world = World(
        stored(1, is_active=False), replace(final, state=replace(final.state, status=status)), stored(4)
    )
    world.store.taken_away = frozenset({14})
    done = await world.handle(run_of(10, 1), run_of(11, 2), run_of(12, 3), run_of(13, 1), run_of(14, 1))
    assert {number: one.result for number, one in done.results.items()} == {
        10: {"skipped": "paused"},
        11: {"skipped": str(status)},
        12: {"skipped": "deleted"},
        13: {"skipped": "paused"},
    }
    assert (done.states, world.provider.asked) == ({}, [])


async def test_run_without_an_alert_fails() -> None:
    world = World(stored(1))
    done = await world.handle(run_of(10, None), run_of(11, 1))
    assert set(world.queue.failures) == {10}
    assert set(done.results) == {11}


async def test_lost_state_takes_everything_closed_by_now_as_history() -> None:
    world = World(replace(stored(1), state=None))
    done = await world.handle(run_of(10, 1))
    assert (done.triggers, done.states[1].status) == ([], AlertStatus.ARMED)
    world.store.keep()
    world.provider.bars = {"T": bars_of(4, 6, 4, 6)}
    world.clock.time += HOUR * 2
    done = await world.handle(run_of(11, 1, hour=4))
    assert done.triggers == [(1, BEGIN + HOUR * 3)]


async def test_bars_published_after_the_state_was_lost_do_not_fire_again() -> None:
    """The bar that had closed by then may have fired already, before the state was lost."""
    world = World(replace(stored(1), state=None), T=Bars.empty())
    await world.handle(run_of(10, 1))
    world.store.keep()
    world.provider.bars = {"T": bars_of(4, 6, 4)}
    world.clock.time += HOUR
    done = await world.handle(run_of(11, 1, hour=3))
    assert done.triggers == []
    assert done.results[11].result["bars_evaluated"] == 1


async def test_edited_rule_never_evaluates_the_same_bars_again() -> None:
    before = stored(1)
    assert before.state is not None
    old = replace(before.state, last_bar=BEGIN + HOUR, trigger_count=4, version=3, status=AlertStatus.COMPLETED)
    edited = replace(before, config=config(level=3), version=2, state=old)
    world = World(edited, T=bars_of(4, 6, 2, 4))
    world.clock.time = BEGIN + HOUR * 4
    done = await world.handle(run_of(10, 1))
    assert done.triggers == [(1, BEGIN + HOUR * 3)]
    assert (done.states[1].trigger_count, done.states[1].version) == (1, 3)
    assert done.states[1].rule_hash == parse_alert(edited.config).rule_hash


async def test_alerts_of_one_batch_are_evaluated_though_few_rules_are_remembered() -> None:
    world = World(stored(1), stored(2), stored(3))
    world.evaluator = AlertEvaluator(
        world.store, world.queue, open_market(world.provider), world.clock, rules=CompiledRules(most=2)
    )
    done = await world.handle(run_of(10, 1), run_of(11, 2), run_of(12, 3))
    assert [number for number, _ in done.triggers] == [1, 2, 3]


def test_of_compiled_rules_those_used_last_are_remembered() -> None:
    rules = CompiledRules(most=2)
    documents = [StoredAlert(number, 1, "", json.dumps(config()), 1, BEGIN) for number in (1, 2, 3)]
    rules.add(documents[0])
    rules.add(documents[1])
    assert set(rules.known({1: 1})) == {1}
    rules.add(documents[2])
    assert set(rules.known({1: 1, 2: 1, 3: 1})) == {1, 3}
    assert rules.known({1: 2}) == {}


async def test_edited_message_keeps_the_state() -> None:
    before = stored(1)
    assert before.state is not None
    other = config(notify={"channels": ["console"]})
    world = World(replace(before, config=other, state=replace(before.state, trigger_count=4)))
    done = await world.handle(run_of(10, 1))
    assert done.states[1].trigger_count == 5
    assert done.messages[0].channels == ("console",)


async def test_snapshot_tells_the_configuration_that_was_used() -> None:
    world = World(stored(1, version=2), stored(2))
    done = await world.handle(run_of(10, 1, version=1), run_of(11, 2, version=1))
    assert done.results[10].used == {"version": 2, "task_params": config()}
    assert done.results[11].used is None


async def test_evaluating_run_by_run_gives_what_one_catch_up_gives() -> None:
    closes = [4, 6, 6, NAN, 4, NAN, 6, 7, 4, 6]
    steps = World(stored(1), T=bars_of(*closes))
    for hour in range(1, len(closes) + 1):
        steps.clock.time = BEGIN + HOUR * hour
        await steps.handle(run_of(hour, 1, hour=hour))
        steps.store.keep()
    at_once = World(stored(1), T=bars_of(*closes))
    at_once.clock.time = BEGIN + HOUR * len(closes)
    done = await at_once.handle(run_of(1, 1))
    assert steps.store.done.triggers == done.triggers == [(1, BEGIN + HOUR * hour) for hour in (1, 6, 9)]
    assert steps.store.done.states == done.states


class RemoteProvider(FakeProvider):
    """The same on a network: of bars that are due it is known whether they are published."""

    traits = ProviderTraits()


def remote_world(*alerts: Kept, **bars: Bars | None) -> World:
    world = World(*alerts, **bars)
    world.provider = RemoteProvider(world.provider.bars, lambda: world.store.is_open)
    market = open_market(world.provider, monotonic=lambda: world.clock.time.timestamp())
    world.evaluator = AlertEvaluator(world.store, world.queue, market, world.clock)
    return world


@pytest.mark.parametrize(
    ("minutes", "delay"),
    [(0, timedelta(seconds=1)), (10, timedelta(minutes=5)), (25, timedelta(minutes=5)), (30, None)],
)
async def test_a_bar_that_is_due_and_not_published_is_waited_for(minutes: int, delay: timedelta | None) -> None:
    world = remote_world(stored(1), T=bars_of(4))
    world.clock.time = BEGIN + HOUR * 2 + timedelta(minutes=minutes)
    done = await world.handle(run_of(10, 1, hour=2))
    assert world.queue.back == ([] if delay is None else [(10, delay)])
    assert set(done.results) == (set() if delay else {10})


async def test_the_newest_bar_is_waited_for_though_an_older_run_is_due_as_well() -> None:
    world = remote_world(stored(1), T=bars_of(4))
    world.clock.time = BEGIN + HOUR * 3
    await world.handle(run_of(10, 1, hour=2), run_of(11, 1, hour=3))
    assert world.queue.back == [(10, timedelta(seconds=1)), (11, timedelta(seconds=1))]


async def test_a_run_between_two_bars_does_not_wait_for_the_next() -> None:
    world = remote_world(stored(1), T=bars_of(4))
    world.clock.time = BEGIN + HOUR * 2 + timedelta(minutes=50)
    run = replace(run_of(10, 1), key=RunKey("alert", world.clock.time, 10))
    done = await world.handle(run)
    assert (world.queue.back, set(done.results)) == ([], {10})


async def test_bars_before_the_awaited_one_are_evaluated_meanwhile() -> None:
    world = remote_world(stored(1), T=bars_of(4, 6))
    world.clock.time = BEGIN + HOUR * 3
    done = await world.handle(run_of(10, 1, hour=3))
    assert done.triggers == [(1, BEGIN + HOUR)]
    assert (world.queue.back, done.results) == ([(10, timedelta(seconds=1))], {})
    world.store.keep()
    world.provider.bars = {"T": bars_of(4, 6, 4)}
    world.clock.time += timedelta(minutes=10)
    done = await world.handle(run_of(10, 1, hour=3))
    assert done.results[10].result["bars_evaluated"] == 1
    assert done.triggers == [(1, BEGIN + HOUR)]


async def test_a_muted_alert_is_evaluated_and_told_to_nobody() -> None:
    world = World(stored(1, muted_until=BEGIN + HOUR * 3), stored(2, muted_until=BEGIN + HOUR * 2), stored(3))
    done = await world.handle(run_of(10, 1), run_of(11, 2), run_of(12, 3))
    assert [number for number, _ in done.triggers] == [1, 2, 3]
    assert [message.payload["alert_id"] for message in done.messages] == [2, 3]


async def test_what_an_outage_left_is_one_digest_and_each_trigger_keeps_its_message() -> None:
    world = World(stored(1, config(rearm={"type": "simple"})), T=bars_of(6, 7, 8))
    world.clock.time = BEGIN + HOUR * 3
    done = await world.handle(run_of(10, 1, hour=3))
    assert len(done.triggers) == 3
    assert [message.channels for message in done.messages] == [(), (), ("inbox",)]
    assert len({message.dedup_key for message in done.messages}) == 3
    assert "3 triggers" in done.messages[-1].title
    assert done.messages[-1].payload["digest_of"] == [message.dedup_key for message in done.messages]


async def test_an_alert_may_tell_when_it_is_ready_again() -> None:
    notify = {"on": ["triggered", "rearmed"]}
    world = World(stored(1, config(notify=notify)), stored(2), T=bars_of(4, 6, 6, 4, 4, 6, 4))
    world.clock.time = BEGIN + HOUR * 7
    done = await world.handle(run_of(10, 1, hour=7), run_of(11, 2, hour=7))
    told = [(one.notification_type, one.payload["bar_time"][11:13]) for one in done.messages]
    assert sorted(told) == [
        ("alert", "01"),
        ("alert", "01"),
        ("alert", "05"),
        ("alert", "05"),
        ("alert_rearmed", "03"),
        ("alert_rearmed", "06"),
    ]
    assert len({message.dedup_key for message in done.messages}) == 6


async def test_bars_of_a_pause_do_not_tell_that_an_alert_is_ready_again() -> None:
    chosen = config(notify={"on": ["triggered", "rearmed"]}, rearm={"type": "crossing"})
    world = World(stored(1, chosen), T=bars_of(4, 6, 4))
    await world.handle(run_of(10, 1))
    assert world.store.done.triggers == [(1, BEGIN + HOUR)]
    world.store.keep()
    kept = world.store.alerts[1]
    assert kept.state is not None
    resumed_at = world.clock.time = BEGIN + HOUR * 3
    world.store.alerts[1] = replace(kept, state=replace(kept.state, history_until=resumed_at))
    told = len(world.store.done.messages)
    done = await world.handle(run_of(11, 1, hour=3))
    assert done.states[1].gate is Gate.OPEN
    assert len(done.messages) == told


# --- actions ---

BOT = {"type": "bot", "bot_id": 7, "command": "start"}
HOOK = {"type": "webhook", "url": "https://example.com/hook"}


def acts(done: Committed) -> list[tuple[int, str, str | None]]:
    """The actions that were committed: alert, channel, and why it is not done."""
    found = [one for one in done.messages if one.notification_type == ACTION]
    return [(one.payload["alert_id"], channel, one.refusal) for one in found for channel in one.channels or ()]


async def test_actions_are_committed_with_the_trigger_and_roles_are_asked_for_once_a_batch() -> None:
    world = World(*(stored(number, config(actions=[BOT, HOOK])) for number in range(1, 51)), stored(51))
    done = await world.handle(*(run_of(number, number) for number in range(1, 52)))
    assert acts(done) == [(number, name, None) for number in range(1, 51) for name in ("bot", "webhook")]
    assert len({one.dedup_key for one in done.messages}) == len(done.messages) == 51 + 100
    assert (world.store.asked_roles, world.store.commits) == ([[1]], 1)


async def test_nobody_is_asked_for_a_role_when_there_is_nothing_to_do() -> None:
    quiet = stored(2, config(level=99, actions=[BOT]))
    muted = stored(3, config(actions=[BOT]), muted_until=BEGIN + HOUR * 99)
    world = World(stored(1), quiet, muted)
    done = await world.handle(run_of(10, 1), run_of(11, 2), run_of(12, 3))
    assert sorted(number for number, _ in done.triggers) == [1, 3]
    assert (acts(done), world.store.asked_roles) == ([], [])


@pytest.mark.parametrize(("roles", "what"), [({1: "viewer"}, "a viewer"), ({}, "not active")])
async def test_actions_of_who_may_not_any_more_are_refused_and_all_else_stands(
    roles: dict[int, str], what: str
) -> None:
    world = World(stored(1, config(actions=[BOT])))
    world.store.roles = roles
    done = await world.handle(run_of(10, 1))
    assert [one.channels for one in done.messages] == [("inbox",), ("bot",)]
    ((_, _, refusal),) = acts(done)
    assert refusal is not None
    assert refusal.endswith(f"and this one is {what}")
    assert (done.triggers, set(done.results)) == ([(1, BEGIN + HOUR)], {10})


async def test_each_trigger_of_a_digest_has_its_actions() -> None:
    late = {**BOT, "when_late": "run"}
    world = World(stored(1, config(rearm={"type": "simple"}, actions=[late])), T=bars_of(4, 6, 7, 8))
    world.clock.time = BEGIN + HOUR * 4
    done = await world.handle(run_of(10, 1))
    assert [one.channels for one in done.messages if one.notification_type == "alert"] == [(), (), ("inbox",)]
    assert acts(done) == [(1, "bot", None)] * 3


async def test_after_an_outage_only_what_is_in_time_is_done() -> None:
    actions = [BOT, {**HOOK, "when_late": "run"}]
    world = World(stored(1, config(rearm={"type": "simple"}, actions=actions)), T=bars_of(6, 4, 6))
    world.clock.time = BEGIN + HOUR * 4
    done = await world.handle(run_of(10, 1))
    assert [(name, refusal is None) for _, name, refusal in acts(done)] == [
        ("bot", False),
        ("webhook", True),
        ("bot", True),
        ("webhook", True),
    ]
