from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from atf.errors import DatabaseUnavailable
from atf.health.checks import CheckResult, HealthCheck, progress_check
from atf.health.heartbeat_manager import Heartbeat, HeartbeatManager
from atf.health.status import HealthStatus
from atf.lifecycle import Progress


class FakeStore:
    """Keeps what it is given; ``errors`` are raised first."""

    def __init__(self) -> None:
        self.beats: list[Heartbeat] = []
        self.errors: list[Exception] = []
        self.asked = 0

    async def save(self, heartbeat: Heartbeat) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop()
        self.beats.append(heartbeat)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Lets hanging checks go at the end."""
    event = threading.Event()
    yield event
    event.set()


def manager(store: FakeStore, check: HealthCheck, interval: float = 0.01) -> HeartbeatManager:
    made = HeartbeatManager("platform", interval, store=store, component="one", check_timeout_seconds=0.05)
    made.set_health_check_function(check)
    return made


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.001)


async def test_what_a_check_says_is_stored(store: FakeStore) -> None:
    said = {
        "status": "DEGRADED",
        "response_time_ms": 7,
        "error_message": "slow",
        "metadata": {"queue": 3, "since": datetime(2027, 3, 1, tzinfo=UTC)},
    }
    await manager(store, lambda: said).beat()
    (beat,) = store.beats
    assert (beat.system, beat.component, beat.interval_seconds) == ("platform", "one", 0.01)
    assert (beat.outcome.status, beat.outcome.response_time_ms) == (HealthStatus.DEGRADED, 7)
    assert beat.outcome.error_message == "slow"
    assert beat.outcome.metadata == {"queue": 3, "since": "2027-03-01 00:00:00+00:00"}


async def test_a_check_may_be_asynchronous_and_is_timed_if_it_does_not_time_itself(store: FakeStore) -> None:
    async def check() -> CheckResult:
        await asyncio.sleep(0.01)
        return {"status": HealthStatus.HEALTHY}

    outcome = await manager(store, check).beat()
    assert outcome.status is HealthStatus.HEALTHY
    assert (outcome.response_time_ms or 0) >= 9


async def test_without_a_check_a_system_that_lives_is_healthy(store: FakeStore) -> None:
    outcome = await HeartbeatManager("platform", 1, store=store).beat()
    assert outcome.status is HealthStatus.HEALTHY


async def test_a_raising_check_is_down(store: FakeStore) -> None:
    def check() -> CheckResult:
        raise ZeroDivisionError("nothing there")

    outcome = await manager(store, check).beat()
    assert (outcome.status, outcome.error_message) == (HealthStatus.DOWN, "ZeroDivisionError: nothing there")


@pytest.mark.parametrize(
    "said", [None, {}, {"status": "FINE"}, {"status": "HEALTHY", "metadata": {"rate": float("nan")}}]
)
async def test_what_is_no_answer_is_down(store: FakeStore, said: Any) -> None:
    outcome = await manager(store, lambda: said).beat()
    assert outcome.status is HealthStatus.DOWN
    assert outcome.error_message


async def test_a_check_that_blocks_its_thread_is_down_and_is_not_asked_twice_at_once(
    store: FakeStore, released: threading.Event
) -> None:
    asked = []

    def check() -> CheckResult:
        asked.append(1)
        released.wait()
        return {"status": HealthStatus.HEALTHY}

    hung = manager(store, check)
    for _ in range(3):
        outcome = await hung.beat()
        assert outcome.status is HealthStatus.DOWN
        assert outcome.error_message == "the health check did not answer within 0.05 s"
    assert asked == [1]
    released.set()
    assert (await hung.beat()).status is HealthStatus.HEALTHY


async def test_a_coroutine_that_swallows_its_cancellation_does_not_hold_up_the_end(store: FakeStore) -> None:
    ends = asyncio.Event()

    async def check() -> CheckResult:
        while not ends.is_set():
            try:
                await ends.wait()
            except asyncio.CancelledError:
                continue
        return {"status": HealthStatus.HEALTHY}

    hung = manager(store, check)
    hung.start_heartbeat()
    await until(lambda: store.beats)
    async with asyncio.timeout(1):
        await hung.stop_heartbeat()
    assert store.beats[0].outcome.status is HealthStatus.DOWN
    ends.set()
    await asyncio.sleep(0.01)


async def test_a_store_that_is_away_is_survived(store: FakeStore) -> None:
    store.errors = [DatabaseUnavailable("gone"), ConnectionResetError("gone")]
    beating = manager(store, lambda: {"status": "HEALTHY"})
    beating.start_heartbeat()
    await until(lambda: len(store.beats) >= 2)
    await beating.stop_heartbeat()
    assert store.asked >= 4


async def test_stopping_before_the_first_beat_is_harmless(store: FakeStore) -> None:
    beating = manager(store, lambda: {"status": "HEALTHY"})
    await beating.stop_heartbeat()
    beating.start_heartbeat()
    await asyncio.sleep(0.02)
    assert store.asked == 0


async def test_a_system_that_is_not_well_is_asked_again_before_its_interval(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atf.health.heartbeat_manager._UNWELL_SECONDS", 0.01)
    answers = iter(["DOWN", "DEGRADED", "HEALTHY", "HEALTHY"])
    beating = manager(store, lambda: {"status": next(answers)}, interval=3600)
    beating.start_heartbeat()
    await until(lambda: len(store.beats) == 3)
    await asyncio.sleep(0.05)
    await beating.stop_heartbeat()
    assert [beat.outcome.status for beat in store.beats] == ["DOWN", "DEGRADED", "HEALTHY"]


async def test_a_loop_that_does_not_come_round_is_down(store: FakeStore) -> None:
    now = [100.0]
    progress = Progress(lambda: now[0])
    beating = manager(store, progress_check(progress, limit_seconds=30))
    now[0] += 30
    assert (await beating.beat()).status is HealthStatus.HEALTHY
    now[0] += 1
    outcome = await beating.beat()
    assert (outcome.status, outcome.error_message) == (
        HealthStatus.DOWN,
        "no progress for 31 s; the limit is 30 s",
    )
    progress.mark()
    assert (await beating.beat()).status is HealthStatus.HEALTHY
