"""Which bots a start runs after a crash, after a clean stop and when told to; who runs them; what they find."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from tests.integration.trading_desk import TradingDesk, trading_desk

from atf.bootstrap.trading import TradingOptions
from atf.errors import AtfError, DatabaseUnavailable, TemporaryFailure
from atf.market.data_manager import DataManager
from atf.storage.books_repository import PostgresBooks
from atf.storage.database import Database, plain_url
from atf.storage.trading_repository import PostgresTradingStore
from atf.trading import bot_supervision, session_life, strategy_instance
from atf.trading.crash_marker import NAME, CrashMarker
from atf.trading.service_store import Session
from atf.trading.session_life import boot_id
from atf.trading.strategy_manager import StrategyManager

BOTS = {
    "ran": ("running", "running"),
    "was starting": ("starting", "running"),
    "was not running": ("stopped", "running"),
    "had failed": ("error", "running"),
    "stopped by a person": ("stopped", "stopped"),
    "to be stopped": ("running", "stopped"),
    "disabled": ("disabled", "running"),
}
"""Status and desired state, by name."""
AFTER_CRASH = {"ran", "was starting"}
USUALLY = {*AFTER_CRASH, "was not running", "had failed"}

SHOWING = '''
import backtrader as bt

class Showing(bt.Strategy):
    """Buys twice, and shows what it was begun with and what it holds."""

    def __init__(self):
        self.count = 0
        self.begun_with = {key: self.config.get(key) for key in ("_recovered_positions", "_recovered_trades")}

    def next(self):
        self.count += 1
        if self.count <= 2:
            self.buy(size=self.count)

    def save_state(self):
        held = self.getposition()
        return {"count": self.count, "begun_with": self.begun_with, "held": [held.size, held.price]}

    def load_state(self, state):
        self.count = state["count"]
'''


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, database_url, database) as made:
        (tmp_path / "strategies" / "showing.py").write_text(SHOWING, "utf-8")
        yield made


def dead_session() -> Session:
    """A session whose process has ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return Session("trading-dead", socket.gethostname(), gone.pid, boot_id())


def marker_of(desk: TradingDesk) -> CrashMarker:
    return CrashMarker.in_directory(desk.settings.home / "state")


async def leave_a_row(desk: TradingDesk) -> None:
    """Leave what a killed service leaves in the database."""
    dead = dead_session()
    await desk.rows.change(
        "INSERT INTO trading_sessions (node_id, host, pid, boot_id) VALUES (:node, :host, :pid, :boot)",
        node=dead.node_id,
        host=dead.host,
        pid=dead.pid,
        boot=dead.boot_id,
    )


async def statuses(desk: TradingDesk) -> dict[str, str]:
    return {row.name: row.status for row in await desk.rows.all("SELECT name, status FROM trading_bots")}


async def begun(desk: TradingDesk) -> set[str]:
    """Names of the bots that have run at any time."""
    sql = "SELECT DISTINCT b.name FROM trading_bot_events e JOIN trading_bots b ON b.id = e.bot_id"
    return set(await desk.rows.column(f"{sql} WHERE e.kind IN ('running', 'starting')"))


# --- which bots ---


@pytest.mark.parametrize(
    ("has_marker", "has_row", "resume_mode", "expected"),
    [
        pytest.param(True, True, True, AFTER_CRASH, id="crash"),
        pytest.param(True, False, True, AFTER_CRASH, id="crash, only the marker is left"),
        pytest.param(False, True, True, AFTER_CRASH, id="crash, only the row is left"),
        pytest.param(False, False, True, USUALLY, id="clean"),
        pytest.param(True, True, False, USUALLY, id="crash, no resume"),
    ],
)
async def test_a_start_runs_those_bots_that_the_end_of_the_last_service_says(
    desk: TradingDesk, has_marker: bool, has_row: bool, resume_mode: bool, expected: set[str]
) -> None:
    for name, (status, desired) in BOTS.items():
        bot_id = await desk.add_bot(name, desired=desired)
        await desk.rows.change("UPDATE trading_bots SET status = :s WHERE id = :id", s=status, id=bot_id)
    sql = "SELECT name FROM trading_bots WHERE status = 'running'"
    assert set(await desk.rows.column(sql)) == {"ran", "to be stopped"}, "the mission's query after a crash"
    sql = "SELECT name FROM trading_bots WHERE status != 'disabled'"
    assert set(await desk.rows.column(sql)) == set(BOTS) - {"disabled"}, "the mission's query of a usual start"
    if has_marker:
        marker_of(desk).write(dead_session())
    if has_row:
        await leave_a_row(desk)
    desk.options = TradingOptions(resume_mode=resume_mode)
    async with desk.running():
        assert await begun(desk) == expected
        late = await desk.add_bot("later")
        await desk.until_status("running", late)  # so the database was looked at: nobody else was started by that
        assert await begun(desk) == {*expected, "later"}
        after = await statuses(desk)
        assert {name for name, status in after.items() if status == "running"} - {"to be stopped"} == {
            *expected,
            "later",
        }
        assert {name: after[name] for name in BOTS if name not in expected} == {
            name: status for name, (status, _) in BOTS.items() if name not in expected
        }
        if expected == AFTER_CRASH:  # a person's word starts what the crash has left out
            await desk.rows.change("UPDATE trading_bots SET updated_at = now() WHERE name = 'was not running'")
            await desk.until("SELECT status = 'running' FROM trading_bots WHERE name = 'was not running'")
    assert not marker_of(desk).is_there
    open_rows = "SELECT count(*) FROM trading_sessions WHERE ended_cleanly_at IS NULL AND recovered_at IS NULL"
    assert await desk.rows.value(open_rows) == 0


async def test_the_services_of_one_user_run_no_bot_of_another(desk: TradingDesk) -> None:
    await desk.add_bot("mine")
    await desk.rows.change("INSERT INTO users (name, role) VALUES ('somebody', 'trader')")
    theirs = await desk.add_bot("theirs")
    await desk.rows.change("UPDATE trading_bots SET user_id = 2 WHERE id = :id", id=theirs)
    desk.options = TradingOptions(user_id=1)
    async with desk.running():
        assert await begun(desk) == {"mine"}


# --- how a crash is seen ---


async def test_the_marker_says_who_runs_and_a_clean_stop_removes_it(desk: TradingDesk) -> None:
    await desk.add_bot()
    before = datetime.now(UTC)
    async with desk.running():
        said = json.loads((desk.settings.home / "state" / NAME).read_text("utf-8"))
        (session,) = await desk.rows.all("SELECT * FROM trading_sessions")
        assert said["node_id"] == session.node_id
        assert (said["pid"], said["host"]) == (str(os.getpid()), socket.gethostname())
        assert said["boot_id"] == boot_id() != ""
        assert before <= datetime.fromisoformat(said["started_at"]) <= datetime.now(UTC)
    assert not marker_of(desk).is_there
    assert await statuses(desk) == {"one": "stopped"}


async def test_a_crash_during_recovery_is_seen_by_the_next_start(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.add_bot()
    marker_of(desk).write(replace(dead_session(), node_id="the first"))
    await leave_a_row(desk)
    held: list[tuple[bool, str, int]] = []

    async def look(manager: StrategyManager) -> None:
        """What a kill at this instant would leave."""
        said = json.loads((desk.settings.home / "state" / NAME).read_text("utf-8"))["node_id"]
        sql = "SELECT count(*) FROM trading_sessions WHERE ended_cleanly_at IS NULL AND recovered_at IS NULL"
        held.append((marker_of(desk).is_there, said, await desk.rows.value(sql)))
        await start(manager)

    start = StrategyManager.start_all_strategies
    monkeypatch.setattr(StrategyManager, "start_all_strategies", look)
    async with desk.running():
        assert held == [(True, "the first", 2)]
        assert json.loads((desk.settings.home / "state" / NAME).read_text("utf-8"))["node_id"] != "the first"
        recovered = "SELECT recovered_at IS NOT NULL FROM trading_sessions WHERE node_id = 'trading-dead'"
        assert await desk.rows.value(recovered)


async def test_a_stop_while_the_database_is_away_leaves_the_marker_and_no_process(
    desk: TradingDesk, database_url: str
) -> None:
    await desk.add_bot()
    before = children()
    async with desk.running():
        assert children() - before
        await asyncio.to_thread(let_connect, database_url, allow=False)
    try:
        assert marker_of(desk).is_there
        assert not children() - before, "the bots' processes have ended all the same"
    finally:
        await asyncio.to_thread(let_connect, database_url, allow=True)
    await answering(desk)
    assert await statuses(desk) == {"one": "running"}
    async with desk.running():
        await desk.until_status("running")
        await desk.bar()
    assert not marker_of(desk).is_there


async def test_an_outage_of_the_database_costs_no_bot_a_try(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while the bot comes up, nor while it is written down and told that it has failed."""
    monkeypatch.setattr(bot_supervision, "_DATABASE_PAUSE", 0.01)
    left = {"open": 6, "note_status": 6}

    def away(store: type, name: str) -> None:
        asked = getattr(store, name)

        async def ask(*args: Any, **named: Any) -> Any:
            if left[name]:
                left[name] -= 1
                raise DatabaseUnavailable("the database does not answer")
            return await asked(*args, **named)

        monkeypatch.setattr(store, name, ask)

    away(PostgresBooks, "open")
    away(PostgresTradingStore, "note_status")
    await desk.add_bot(explode_at=1)
    async with desk.running():
        await desk.until_status("running")
        assert await desk.rows.value("SELECT error_count FROM trading_bots") == 0
        left["note_status"] = 6
        await desk.move_clock()
        await desk.until_status("error")
        assert await desk.rows.value("SELECT error_count FROM trading_bots") == 3
        assert await desk.rows.all("SELECT title FROM msg_messages") == [("Bot one stopped",)]
    assert left == {"open": 0, "note_status": 0}


async def test_bars_that_are_away_at_a_start_are_waited_for_and_cost_no_try(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_instance, "_VENUE_PAUSES", (0.01,))
    asked = DataManager.closed_bars
    left = 6

    async def away(self: DataManager, *args: Any, **named: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise TemporaryFailure("nobody has the bars now")
        return await asked(self, *args, **named)

    monkeypatch.setattr(DataManager, "closed_bars", away)
    await desk.add_bot()
    async with desk.running():
        await desk.until_status("running")
        assert await desk.rows.value("SELECT error_count FROM trading_bots") == 0
    assert left == 0


async def answering(desk: TradingDesk) -> None:
    """Wait until the test's own connections have healed."""
    async with asyncio.timeout(10):
        while True:
            try:
                await desk.rows.value("SELECT 1")
            except AtfError:
                await asyncio.sleep(0.02)
            else:
                return


def children() -> set[int]:
    """Processes that this one has started and that live."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def let_connect(url: str, *, allow: bool) -> None:
    """Let nobody into the database and send out who is there, or let them in again."""
    parsed = make_url(plain_url(url))
    admin = parsed.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{parsed.database}" WITH ALLOW_CONNECTIONS {allow}'.encode())
        if not allow:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(sql, [parsed.database])


# --- two services ---


@asynccontextmanager
async def another(desk: TradingDesk) -> AsyncIterator[None]:
    """Run a second service with a home of its own over the same database."""
    home = desk.settings.home.with_name(f"{desk.settings.home.name}-2")
    shutil.copytree(desk.settings.home / "strategies", home / "strategies")
    second = TradingDesk(desk.settings.model_copy(update={"home": home}), desk.rows, desk.clock)
    async with second.running():
        yield


async def test_a_bot_is_run_by_one_of_two_services_and_taken_by_the_other_when_the_first_is_dead(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_life, "_OWN_PROGRAM", b"python")  # this process, for both
    bot_id = await desk.add_bot(buy_at=[2, 4], size=1)
    sql = "SELECT node_id FROM trading_bots"
    async with desk.running():
        first = await desk.rows.value(sql)
        async with another(desk):
            await desk.bar(2)
            assert await desk.rows.value(sql) == first, "it lives"
            runs = "SELECT count(*) FROM trading_bot_events WHERE kind = 'running'"
            assert await desk.rows.value(runs) == 1
            await desk.rows.expire(first)
            await desk.until("SELECT node_id <> :first AND status = 'running' FROM trading_bots", first=first)
            second = await desk.rows.value(sql)
            await desk.until("SELECT count(*) = 3 FROM trading_sessions")
            assert await desk.rows.value(sql) == second, "the first one's next term is nothing to the second"
            assert await statuses(desk) == {"one": "running"}
            await desk.bar(3)
            await desk.books_agree(bot_id)
    orders = "SELECT count(*) FROM trading_orders WHERE status = 'filled'"
    assert await desk.rows.value(orders) == 2, "each bar was traded once"


# --- what a strategy finds ---


async def show(desk: TradingDesk) -> Any:
    return await desk.rows.value("SELECT strategy_state FROM trading_bot_states")


async def test_a_strategy_finds_what_it_held_in_the_missions_shape_and_in_its_positions(
    desk: TradingDesk,
) -> None:
    bot_id = await desk.add_bot(strategy={"name": "showing.py:Showing"})
    async with desk.running():
        await desk.bar(4)
        empty: dict[str, list[Any]] = {"_recovered_positions": [], "_recovered_trades": []}
        assert (await show(desk))["begun_with"] == empty
    (position,) = await desk.rows.all(
        "SELECT * FROM trading_positions WHERE bot_id = :id AND status = 'open'", id=bot_id
    )
    (trade,) = await desk.rows.all(
        "SELECT * FROM trading_trades WHERE bot_id = :id AND status = 'open'", id=bot_id
    )
    for options in (TradingOptions(), TradingOptions(resume_mode=False)):
        desk.options = options
        async with desk.running():
            await desk.bar()
            found = await show(desk)
        if not options.resume_mode:
            assert found["begun_with"] == {"_recovered_positions": None, "_recovered_trades": None}
            assert found["held"] == [0, 0.0], "what is held is left to the operator"
            continue
        assert found["held"] == [3, pytest.approx(float(position.avg_price))]
        assert found["begun_with"]["_recovered_positions"] == [
            {
                "id": position.id,
                "symbol": "AAPL",
                "direction": "LONG",
                "qty_open": 3.0,
                "avg_price": float(position.avg_price),
                "status": "open",
                "realized_pnl": 0.0,
            }
        ]
        (given,) = found["begun_with"]["_recovered_trades"]
        assert datetime.fromisoformat(given.pop("entry_time")) == trade.entry_time
        assert given == {
            "id": trade.id,
            "symbol": "AAPL",
            "entry_price": float(trade.entry_price),
            "status": "open",
            "size": 3.0,
        }
