import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from atf.jobs.chores.chore import Chore
from atf.jobs.chores.cleaner import Cleaner, Retention
from atf.jobs.chores.dead_letter_pruner import DeadLetterPruner
from atf.jobs.chores.partition_maker import PartitionMaker
from atf.jobs.chores.rescuer import Rescued, Rescuer
from atf.jobs.chores.retry_stager import RetryStager
from atf.jobs.chores.statistics_rollup import StatisticsRollup
from atf.schedules.cron_parser import CronParser
from atf.testing.clocks import FakeClock

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


class FakeRescueStore:
    def __init__(self, rescued: Rescued) -> None:
        self.rescued = rescued

    async def rescue(self) -> Rescued:
        return self.rescued


class FakePartitions:
    def __init__(self) -> None:
        self.asked: list[datetime] = []

    async def ensure_ahead(self, now: datetime) -> int:
        self.asked.append(now)
        return 3


class ReplayTime:
    is_replay = True

    async def now(self) -> datetime:
        return NOON

    async def step(self) -> bool:
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        return None


@pytest.mark.parametrize(
    ("rescued", "warnings"),
    [
        (Rescued(), 0),
        (Rescued(runs_failed=1), 1),
        (Rescued(deliveries_requeued=2), 1),
        (Rescued(runs_cancelled=1), 1),
    ],
)
async def test_rescue_is_reported_only_if_there_was_something(
    rescued: Rescued, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert await Rescuer(FakeRescueStore(rescued)).run_once() == rescued
    assert len(caplog.records) == warnings


async def test_partitions_are_made_for_the_markets_time() -> None:
    store = FakePartitions()
    assert await PartitionMaker(store, ReplayTime()).run_once() == 3
    assert store.asked == [NOON]


class FakeHistory:
    """Everything that chores keep and take away; notes what it was asked."""

    def __init__(self, *, newest_hour: datetime | None = None, chunks: Sequence[int] = ()) -> None:
        self.newest = newest_hour
        self.chunks = list(chunks)
        self.asked: list[tuple[object, ...]] = []

    async def drop_expired(self, alert_before: datetime, other_before: datetime) -> Sequence[str]:
        self.asked.append((alert_before, other_before))
        return ["job_schedule_runs_alert_20270201"]

    async def prune(self, *, misfires_before: datetime, statistics_before: datetime) -> int:
        self.asked.append((misfires_before, statistics_before))
        return 0

    async def newest_hour(self) -> datetime | None:
        return self.newest

    async def add_up(self, begin: datetime, end: datetime) -> int:
        self.asked.append((begin, end))
        return 1

    async def prune_dead_letters(self, older_than: timedelta, most_of_a_schedule: int) -> int:
        self.asked.append((older_than, most_of_a_schedule))
        return 4

    async def stage_due(self, limit: int) -> int:
        self.asked.append((limit,))
        return self.chunks.pop(0)


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_old_history_is_dropped_by_its_class() -> None:
    store = FakeHistory()
    retention = Retention(alert_runs=6 * HOUR, other_runs=10 * DAY)
    assert await Cleaner(store, FakeClock(NOON), retention).run_once() == ["job_schedule_runs_alert_20270201"]
    assert store.asked == [(NOON - 6 * HOUR, NOON - 10 * DAY), (NOON - 10 * DAY, NOON - 732 * DAY)]


async def test_only_closed_hours_are_added_up_and_the_last_ones_again() -> None:
    store = FakeHistory(newest_hour=NOON - 2 * HOUR)
    assert await StatisticsRollup(store, FakeClock(NOON + 0.9 * HOUR)).run_once() == 1
    assert store.asked == [(NOON - 4 * HOUR, NOON)]


async def test_a_long_pause_is_caught_up_a_day_at_a_time() -> None:
    store = FakeHistory(newest_hour=NOON - 2 * DAY)
    assert await StatisticsRollup(store, FakeClock(NOON)).run_once() == 3
    begin = NOON - 2 * DAY - 2 * HOUR
    assert store.asked == [(begin, begin + DAY), (begin + DAY, begin + 2 * DAY), (begin + 2 * DAY, NOON)]


@pytest.mark.parametrize("newest", [None, NOON - 999 * DAY])
async def test_no_hour_before_the_oldest_runs_is_added_up(newest: datetime | None) -> None:
    store = FakeHistory(newest_hour=newest)
    assert await StatisticsRollup(store, FakeClock(NOON), 2 * DAY).run_once() == 2
    assert store.asked[0] == (NOON - 2 * DAY, NOON - DAY)


async def test_dead_letters_are_pruned_by_age_and_number() -> None:
    store = FakeHistory()
    assert await DeadLetterPruner(store, 90 * DAY).run_once() == 4
    assert store.asked == [(90 * DAY, 100)]


async def test_staging_goes_on_until_nothing_is_left() -> None:
    store = FakeHistory(chunks=[10_000, 10_000, 3])
    assert await RetryStager(store).run_once() == 20_003
    assert store.asked == [(10_000,)] * 3


@pytest.mark.parametrize(
    "chore",
    [
        Rescuer(FakeRescueStore(Rescued())),
        PartitionMaker(FakePartitions(), ReplayTime()),
        Cleaner(FakeHistory(), FakeClock(NOON)),
        StatisticsRollup(FakeHistory(), FakeClock(NOON)),
        DeadLetterPruner(FakeHistory(), DAY),
        RetryStager(FakeHistory()),
    ],
    ids=lambda chore: chore.name,
)
def test_every_chore_has_a_time(chore: Chore) -> None:
    assert CronParser.calculate_next_run(chore.cron, after=NOON) <= NOON + DAY
