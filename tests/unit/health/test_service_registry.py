from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from atf.errors import DatabaseUnavailable
from atf.health.service_registry import (
    PlatformStatus,
    RegisteredInstance,
    Registration,
    ReportedHealth,
    ServiceInstance,
    new_instance_id,
    process_lives,
)
from atf.health.status import HealthStatus

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


def registered(instance_id: str, *, host: str = "here", pid: int = 7, age: float = 0) -> RegisteredInstance:
    return RegisteredInstance(instance_id, "worker", host, pid, "1", {}, NOON, NOON, age)


class FakeRegistry:
    """Rows by instance; ``errors`` are raised first, ``hangs`` never answers."""

    def __init__(self, *found: RegisteredInstance) -> None:
        self.rows = {instance.instance_id: instance for instance in found}
        self.seen: list[str] = []
        self.errors: list[Exception] = []
        self.hangs = False

    async def register(self, instance: ServiceInstance) -> None:
        await self._answer()
        self.seen.append(instance.instance_id)
        self.rows[instance.instance_id] = registered(instance.instance_id, pid=os.getpid())

    async def remove(self, instance_ids: Sequence[str]) -> None:
        await self._answer()
        for instance_id in instance_ids:
            self.rows.pop(instance_id, None)

    async def instances(self) -> Sequence[RegisteredInstance]:
        return list(self.rows.values())

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.errors:
            raise self.errors.pop()


def registration(
    store: FakeRegistry, instance_id: str = "own", is_alive: Callable[[int], bool] = lambda pid: True
) -> Registration:
    own = ServiceInstance(instance_id, "worker", "here", os.getpid(), "1", {})
    return Registration(store, lambda: own, refresh_seconds=0.005, is_alive=is_alive)


async def test_it_is_registered_when_started_refreshed_while_it_runs_and_gone_when_stopped() -> None:
    store = FakeRegistry()
    service = registration(store)
    await service.start()
    assert list(store.rows) == ["own"]
    async with asyncio.timeout(5):
        while len(store.seen) < 3:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.001)
    await service.stop()
    assert store.rows == {}


async def test_it_starts_without_the_database_and_registers_later() -> None:
    store = FakeRegistry()
    store.errors = [DatabaseUnavailable("gone"), DatabaseUnavailable("gone")]
    service = registration(store)
    await service.start()
    assert service.is_started
    assert not store.rows
    async with asyncio.timeout(5):
        while not store.rows:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.001)
    await service.stop()


async def test_a_database_that_does_not_answer_holds_up_neither_start_nor_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atf.health.service_registry._PATIENCE_SECONDS", 0.01)
    store = FakeRegistry()
    store.hangs = True
    service = registration(store)
    async with asyncio.timeout(5):
        await service.start()
        assert service.is_started
        await service.stop()


async def test_the_dead_of_this_machine_are_taken_out_and_nobody_else() -> None:
    store = FakeRegistry(
        registered("dead", pid=1),
        registered("hung", pid=2, age=3600),
        registered("elsewhere", host="there", pid=1),
        registered("forgotten", host="there", pid=1, age=90_000),
    )
    service = registration(store, is_alive=lambda pid: pid != 1)
    await service.start()
    assert set(store.rows) == {"hung", "elsewhere", "own"}
    await service.stop()


def test_processes_live_or_not() -> None:
    assert process_lives(os.getpid())
    assert process_lives(1)
    assert not process_lives(2**22 + 1)


def test_instances_have_names_of_their_own() -> None:
    assert new_instance_id("worker").startswith("worker-")
    assert new_instance_id("worker") != new_instance_id("worker")


def health(status: HealthStatus) -> ReportedHealth:
    return ReportedHealth("worker", "w", status, NOON, None, None, {})


@pytest.mark.parametrize(
    ("services", "systems", "expected"),
    [
        ([], [], False),
        ([registered("a")], [health(HealthStatus.HEALTHY)], True),
        ([registered("a", age=30)], [], True),
        ([registered("a", age=30.1)], [], False),
        ([registered("a")], [health(HealthStatus.HEALTHY), health(HealthStatus.DEGRADED)], False),
    ],
)
def test_the_platform_is_healthy_if_it_runs_and_all_say_so(
    services: list[RegisteredInstance], systems: list[ReportedHealth], expected: bool
) -> None:
    assert PlatformStatus(services, systems).is_healthy is expected
