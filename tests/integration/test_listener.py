"""LISTEN: wakes on a notification, hears again after its session was ended, and is refused behind a pooler."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import AsyncConnection
from sqlalchemy import make_url

from atf.errors import ConfigurationError, DatabaseUnavailable
from atf.storage import listener as listener_module
from atf.storage.database import Database, plain_url
from atf.storage.listener import Listener, require_notifications

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

LISTENERS = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"""
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@pytest.fixture
async def listener(database: Database) -> AsyncIterator[Listener]:
    """One that listens already and whose first wake, by connecting, is over."""
    made = Listener(database.direct_url, ["atf_runs", "atf_schedules"])
    await made.start()
    assert await made.wait(5)
    yield made
    await made.stop()


async def notify(rows: Rows, channel: str) -> None:
    await rows.all("SELECT pg_notify(:channel, '')", channel=channel)


@pytest.mark.parametrize("channel", ["atf_runs", "atf_schedules"])
async def test_a_notification_on_any_of_its_channels_wakes(listener: Listener, rows: Rows, channel: str) -> None:
    await notify(rows, channel)
    assert await listener.wait(5)


async def test_many_notifications_wake_once(listener: Listener, rows: Rows) -> None:
    await rows.all("SELECT pg_notify('atf_runs', CAST(n AS text)) FROM generate_series(1, 100) AS n")
    assert await listener.wait(5)
    assert not await listener.wait(0.1)


async def test_another_channel_does_not_wake(listener: Listener, rows: Rows) -> None:
    await notify(rows, "atf_outbox")
    assert not await listener.wait(0.1)


async def test_a_wake_by_hand_wakes(listener: Listener) -> None:
    listener.wake()
    assert await listener.wait(5)


async def test_an_ended_session_wakes_and_is_replaced_by_one_that_hears(listener: Listener, rows: Rows) -> None:
    (pid,) = await rows.column(LISTENERS)
    await rows.all("SELECT pg_terminate_backend(:pid)", pid=pid)
    assert await listener.wait(5), "what was sent meanwhile is lost, so a reconnect must wake"
    assert await rows.column(LISTENERS) != [pid]
    await notify(rows, "atf_runs")
    assert await listener.wait(5)


async def test_stopping_ends_the_session_and_may_be_repeated(
    listener: Listener, rows: Rows, eventually: Eventually
) -> None:
    async def nobody_listens() -> bool:
        return not await rows.column(LISTENERS)

    await listener.stop()
    await listener.stop()
    await eventually(nobody_listens)
    assert await rows.column(LISTENERS) == []


async def test_starting_twice_listens_once(listener: Listener, rows: Rows) -> None:
    await listener.start()
    assert len(await rows.column(LISTENERS)) == 1


async def test_one_that_was_never_started_may_be_stopped(database: Database) -> None:
    never_started = Listener(database.direct_url, ["atf_runs"])
    await never_started.stop()
    assert not await never_started.wait(0.01)


async def test_one_that_cannot_connect_does_not_wake_and_can_be_stopped() -> None:
    unreachable = Listener("postgresql://me@127.0.0.1:1/atf", ["atf_runs"])
    await unreachable.start()
    assert not await unreachable.wait(0.1)
    await unreachable.stop()


async def test_notifications_arrive_on_a_direct_connection(database: Database) -> None:
    async with asyncio.timeout(4):  # a notification that does not arrive takes five seconds to be missed
        (failure,) = await asyncio.gather(require_notifications(database.direct_url), return_exceptions=True)
    assert failure is None


async def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    with pytest.raises(DatabaseUnavailable):
        await require_notifications("postgresql://me@127.0.0.1:1/atf")


class Forgetful(AsyncConnection[Any]):
    """A connection whose LISTEN does not outlive its transaction."""

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        done = await super().execute(query, *arguments, **options)
        if "LISTEN" in str(query):
            await super().execute("UNLISTEN *")
        return done


async def test_a_connection_that_forgets_its_listen_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg, "AsyncConnection", Forgetful)
    monkeypatch.setattr(listener_module, "_PROBE_SECONDS", 0.1)
    with pytest.raises(ConfigurationError, match=r"^ATF_DATABASE_DIRECT_URL: "):
        await require_notifications(database.direct_url)


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The test's database behind a PgBouncer in transaction mode."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    parsed = make_url(database_url)
    folder = Path(mkdtemp(prefix="atf-pgbouncer-"))
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host={parsed.query['host']} port={parsed.query['port']} user={parsed.username} "
        f"password={parsed.password}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "auth_type = any\npool_mode = transaction\nunix_socket_dir =\nignore_startup_parameters = options\n"
    )
    # As the owner of the server's socket folder, which is closed to others.
    owner = Path(str(parsed.query["host"])).stat().st_uid if os.geteuid() == 0 else None
    pooler = subprocess.Popen([PGBOUNCER, "-q", ini], user=owner)
    try:
        yield plain_url(f"postgresql://me@127.0.0.1:{port}/{parsed.database}")
    finally:
        pooler.kill()
        pooler.wait()
        shutil.rmtree(folder)


async def test_a_pooler_in_transaction_mode_is_refused(
    pooled_url: str, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    await eventually(partial(is_reachable, pooled_url))
    monkeypatch.setattr(listener_module, "_PROBE_SECONDS", 0.5)
    with pytest.raises(ConfigurationError, match=r"^ATF_DATABASE_DIRECT_URL: "):
        await require_notifications(pooled_url)


async def is_reachable(url: str) -> bool:
    try:
        async with await psycopg.AsyncConnection.connect(url):
            return True
    except psycopg.OperationalError:
        return False
