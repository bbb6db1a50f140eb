import logging
from datetime import UTC, datetime

import pytest

from atf.jobs.chores.partition_maker import PartitionMaker
from atf.jobs.chores.rescuer import Rescued, Rescuer

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
    ("rescued", "warnings"), [(Rescued(), 0), (Rescued(runs_failed=1), 1), (Rescued(deliveries_requeued=2), 1)]
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
