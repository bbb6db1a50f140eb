"""Every service of the product passes the same stress: start once, stop at any time, leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from atf.bootstrap.notifications import notifications_process
from atf.bootstrap.scheduler import scheduler_process
from atf.bootstrap.worker import worker_process
from atf.health.heartbeat_manager import HeartbeatManager
from atf.health.service_registry import Registration, ServiceInstance
from atf.lifecycle import Progress, Service, ServiceGroup
from atf.services.http.server import Address, HttpServer
from atf.services.supervisor.supervisor import ChildCommand, Supervisor
from atf.settings import Settings
from atf.storage.database import Database, plain_url
from atf.storage.health_repository import PostgresHeartbeats
from atf.storage.registry_repository import PostgresRegistry

# A child that says that it is ready, as it would to systemd, and sleeps until it is told to stop.
CHILD = (
    "import os, signal, socket\n"
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET'])\n"
    "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); s.send(b'READY=1'); signal.pause()"
)

Opened = AbstractAsyncContextManager[Service]
Opener = Callable[[str], Opened]


def settings_for(url: str) -> Settings:
    return Settings(
        database_url=url, scheduler_port=0, notifications_port=0, worker_health_port=0, startup_delay_seconds=0
    )


def scheduler(url: str) -> Opened:
    return scheduler_process(settings_for(url), Progress())


def worker(url: str) -> Opened:
    return worker_process(settings_for(url), Progress())


def notifications(url: str) -> Opened:
    return notifications_process(settings_for(url), Progress())


@asynccontextmanager
async def supervisor(url: str) -> AsyncIterator[Service]:
    del url
    child = ChildCommand("child", ["-c", CHILD], program=[sys.executable])
    yield Supervisor([child, child], shutdown_timeout=timedelta(seconds=10))


@asynccontextmanager
async def http_server(url: str) -> AsyncIterator[Service]:
    del url

    async def app(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        raise AssertionError("nobody asks")

    yield HttpServer(app, Address("127.0.0.1", 0, "ATF_SCHEDULER_PORT"))


@asynccontextmanager
async def heartbeat(url: str) -> AsyncIterator[Service]:
    database = Database(url)
    manager = HeartbeatManager("scheduler", 60, store=PostgresHeartbeats(database))
    manager.set_health_check_function(lambda: {"status": "HEALTHY"})
    yield manager
    await database.close()


@asynccontextmanager
async def registration(url: str) -> AsyncIterator[Service]:
    database = Database(url)
    instance = ServiceInstance.of_this_process("scheduler", f"test-{datetime.now(UTC).timestamp()}", "1", {})
    yield Registration(PostgresRegistry(database), lambda: instance)
    await database.close()


@asynccontextmanager
async def group(url: str) -> AsyncIterator[Service]:
    async with http_server(url) as first, heartbeat(url) as second, registration(url) as third:
        yield ServiceGroup("group", [first, second, third])


OPENERS: Sequence[Opener] = (
    scheduler,
    worker,
    notifications,
    supervisor,
    http_server,
    heartbeat,
    registration,
    group,
)
every_service = pytest.mark.parametrize("opener", OPENERS, ids=lambda opener: opener.__name__)


@every_service
async def test_it_starts_once_and_stops_as_often_as_one_likes(opener: Opener, database_url: str) -> None:
    async with opener(database_url) as service, asyncio.timeout(30):
        await service.start()
        assert service.is_started
        with pytest.raises(RuntimeError, match="started before"):
            await service.start()
        await service.reload()
        await asyncio.gather(service.stop(), service.stop())
        await service.stop()
        await service.wait_ended()
        assert not service.is_started


@every_service
async def test_stop_before_start_is_harmless_and_final(opener: Opener, database_url: str) -> None:
    async with opener(database_url) as service, asyncio.timeout(30):
        await service.stop()
        await service.start()
        assert not service.is_started
        await service.wait_ended()


@every_service
async def test_stop_while_it_starts_ends_it_wherever_it_is(opener: Opener, database_url: str) -> None:
    for turns in (0, 1, 2, 3, 5, 8, 13, 40):
        async with opener(database_url) as service, asyncio.timeout(30):
            starting = asyncio.create_task(service.start())
            for _ in range(turns):
                await asyncio.sleep(0)
            await service.stop()
            await starting
            assert not service.is_started
        assert asyncio.all_tasks() == {asyncio.current_task()}


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def held_in_database(url: str) -> list[tuple[object, ...]]:
    """Connections and advisory locks of others than this query."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'), "
            "(SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND d.datname = current_database())"
        ).fetchall()


@pytest.mark.timeout(300)
async def test_two_hundred_starts_and_stops_leak_nothing(database_url: str) -> None:
    async def cycle(count: int) -> None:
        for number in range(count):
            async with OPENERS[number % len(OPENERS)](database_url) as service, asyncio.timeout(60):
                await service.start()
                await service.stop()

    await cycle(len(OPENERS))  # what is made once for a process, such as threads, is there from now on
    before = descriptors()
    own_children = children()  # such as the test run's PostgreSQL
    await cycle(200)
    assert descriptors() <= before
    assert children() == own_children
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for _ in range(100):  # a closed connection's backend needs a moment to end
        if held_in_database(database_url) == [(0, 0)]:
            break
        await asyncio.sleep(0.05)
    assert held_in_database(database_url) == [(0, 0)]
    with psycopg.connect(plain_url(database_url)) as connection:
        for table in ("workers", "service_registry"):
            assert (table, connection.execute(f"SELECT * FROM {table}").fetchall()) == (table, [])
