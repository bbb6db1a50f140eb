"""What a strategy does to itself is its own bot's trouble: all others get their bars and trade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.trading_desk import DAY, TradingDesk, trading_desk

from atf.storage.database import Database

BREAKING = '''
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import backtrader as bt

class Breaking(bt.Strategy):
    """Trades as it is told, and does one bad thing at a bar of its own."""

    params = (("how", ""), ("at", 1), ("always", False), ("tokens", ""), ("buy_at", ()), ("sell_at", ()))

    def __init__(self):
        self.count = 0
        self.pids = []
        self.child = None
        self.told = {"Submitted": 0, "Rejected": 0}

    def next(self):
        self.count += 1
        self.pids.append(os.getpid())
        if self.count in self.p.buy_at:
            self.buy(size=2)
        if self.count in self.p.sell_at:
            self.sell(size=2)
        if self.p.how and (self.p.always or self.count == self.p.at):
            getattr(self, self.p.how)()
        if self.p.tokens:
            self.fail_if_there_is_a_token()

    def raises(self):
        raise ValueError("this strategy explodes")

    def hangs(self):
        while True:
            time.sleep(1)

    def leaks(self):
        self.kept = [bytearray(2**20) for _ in range(2**14)]

    def grows(self):
        self.kept = bytearray(b"x") * (155 * 2**20)

    def burns(self):
        """Answer at once, and compute beside it for a while."""
        end = time.monotonic() + 20
        def burn():
            while time.monotonic() < end:
                pass
        threading.Thread(target=burn, daemon=True).start()

    def exits(self):
        os._exit(3)

    def is_killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def forks(self):
        self.child = subprocess.Popen(["sleep", "600"]).pid

    def floods(self):
        for _ in range(50):
            self.buy(size=1)

    def prints(self):
        for number in range(20_000):
            print(f"line {number} of many")

    def fail_if_there_is_a_token(self):
        for token in Path(self.p.tokens).iterdir():
            token.unlink()
            raise ValueError("there was a token")

    def notify_order(self, order):
        if order.getstatusname() in self.told:
            self.told[order.getstatusname()] += 1

    def save_state(self):
        return {"count": self.count, "pids": self.pids, "child": self.child, "told": self.told}

    def load_state(self, state):
        self.count, self.pids = state["count"], state["pids"]
'''
FATAL = {
    "raises": "this strategy explodes",
    "hangs": "the strategy hangs: no answer within 0.5 s",
    "leaks": "the strategy needs more memory than there is",
    "exits": "the strategy's process ended with status 3",
    "is_killed": "the strategy's process was killed by signal 9",
}
"""What ends a bot's process, and what is said of it."""
HARMLESS = ("forks", "floods", "prints")


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, database_url, database) as made:
        (tmp_path / "strategies" / "breaking.py").write_text(BREAKING, "utf-8")
        yield made


async def add(desk: TradingDesk, name: str, params: dict[str, Any], **changes: Any) -> int:
    """Store a bot of the strategy that breaks."""
    return await desk.add_bot(name, strategy={"name": "breaking.py:Breaking", "params": params}, **changes)


async def state(desk: TradingDesk, bot_id: int) -> Any:
    sql = "SELECT strategy_state FROM trading_bot_states WHERE bot_id = :id"
    return await desk.rows.value(sql, id=bot_id)


async def bot(desk: TradingDesk, bot_id: int) -> Any:
    (found,) = await desk.rows.all("SELECT * FROM trading_bots WHERE id = :id", id=bot_id)
    return found


async def test_what_a_strategy_does_to_its_process_stops_its_own_bot_only(desk: TradingDesk) -> None:
    steps = {"hangs": 0.5}  # whoever leaks must have the time for it
    bad = {
        how: await add(desk, how, {"how": how}, limits={"memory_mib": 256, "step_seconds": steps.get(how, 10)})
        for how in FATAL
    }
    odd = {how: await add(desk, how, {"how": how}, risk={"max_orders_per_bar": 5}) for how in HARMLESS}
    good = await add(desk, "good", {"buy_at": [2], "sell_at": [4]})
    async with desk.running():
        assert await desk.clock.step()
        bar_at = (await desk.clock.position()).now_at - DAY
        seen = "SELECT last_processed_bar = :at FROM trading_bot_states WHERE bot_id = :id"
        await desk.until(seen, at=bar_at, id=good)
        assert (await bot(desk, bad["hangs"])).status != "error", "nobody waits for the bot that hangs"
        for bot_id in bad.values():
            await desk.until_status("error", bot_id)
        await desk.bar(5)
        await desk.books_agree(good)
        assert await desk.rows.value("SELECT count(*) FROM trading_fills WHERE bot_id = :id", id=good) == 2
        for bot_id in (*odd.values(), good):
            found = await bot(desk, bot_id)
            assert (found.status, found.error_count, found.last_error) == ("running", 0, None)
            assert (await state(desk, bot_id))["count"] == 6
        child = (await state(desk, odd["forks"]))["child"]
        assert Path(f"/proc/{child}").exists()
    for how, bot_id in bad.items():
        found = await bot(desk, bot_id)
        assert (found.status, found.error_count) == ("error", 3), how
        assert FATAL[how] in found.last_error
        assert await state(desk, bot_id) is None, "nothing of the bar at which it failed is kept"
    assert await desk.rows.value("SELECT count(*) FROM msg_messages") == len(FATAL)
    await assert_flood_is_cut(desk, odd["floods"])
    assert_print_is_cut(desk, odd["prints"])
    assert not Path(f"/proc/{child}").exists(), "what a strategy has started ends with it"


async def assert_flood_is_cut(desk: TradingDesk, bot_id: int) -> None:
    orders = await desk.rows.all("SELECT status FROM trading_orders WHERE bot_id = :id", id=bot_id)
    assert [order.status for order in orders] == ["filled"] * 5
    said = await desk.rows.all(
        "SELECT level, text FROM trading_bot_events WHERE bot_id = :id AND kind = 'refused'", id=bot_id
    )
    text = "45 orders: a bar has 5 at most (risk.max_orders_per_bar)"
    assert [tuple(one) for one in said] == [("warning", text)]
    told = {"Submitted": 5, "Rejected": 45}
    assert (await state(desk, bot_id))["told"] == told, "the strategy hears of each, and the service of five"


def assert_print_is_cut(desk: TradingDesk, bot_id: int) -> None:
    log = (desk.settings.home / "state" / "bots" / f"{bot_id}.log").read_text("utf-8")
    assert "line 0 of many" in log
    assert "more lines were left out, as they came too fast" in log
    assert len(log) < 100_000


async def test_failures_are_counted_and_forgotten_after_three_healthy_intervals(
    desk: TradingDesk, tmp_path: Path
) -> None:
    desk.settings = desk.settings.model_copy(update={"trading_heartbeat_seconds": 1})
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    bot_id = await add(desk, "one", {"tokens": str(tokens), "buy_at": [1]})
    async with desk.running():
        (tokens / "1").touch()
        await desk.bar()
        assert (await bot(desk, bot_id)).error_count == 1
        await desk.until("SELECT error_count = 0 AND status = 'running' FROM trading_bots")
        for number in range(3):
            (tokens / str(number)).touch()
        await desk.bar()
        found = await bot(desk, bot_id)
        assert (found.status, found.error_count) == ("running", 3), "four in all, and never four in a row"
        await desk.books_agree(bot_id)
    assert (await state(desk, bot_id))["count"] == 2, "each bar is done once, however often it was begun"
    assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 0


async def test_who_computes_beside_its_bars_for_too_long_fails_and_is_given_up(desk: TradingDesk) -> None:
    limits = {"cpu_seconds_per_minute": 1}
    burning = await add(desk, "burning", {"how": "burns", "always": True}, limits=limits)
    good = await add(desk, "good", {"buy_at": [1, 3], "sell_at": [2]})
    async with desk.running():
        for count in (1, 2, 3):
            await desk.bar()
            failed = "SELECT error_count >= :count AND status = 'running' FROM trading_bots WHERE id = :id"
            await desk.until(failed, count=count, id=burning)
        await desk.bar()
        await desk.until_status("error", burning)
        await desk.books_agree(good)
    found = await bot(desk, burning)
    reason = "the strategy took more than 1 s of a processor in a minute (limits.cpu_seconds_per_minute)"
    assert (found.error_count, found.last_error) == (3, reason)
    assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 1
    assert (await bot(desk, good)).error_count == 0


async def until_it_has_told(desk: TradingDesk, bot_id: int) -> None:
    """Wait until a bot's process has given a sign of life after its last bar."""
    sql = "SELECT last_heartbeat > :now FROM trading_bots WHERE id = :id"
    await desk.until(sql, now=datetime.now(UTC), id=bot_id)


async def test_a_process_that_has_grown_is_replaced_between_two_bars_and_trades_as_without(
    desk: TradingDesk,
) -> None:
    trades = {"buy_at": [1, 3, 5], "sell_at": [2, 4, 6]}
    limits = {"memory_mib": 256}
    growing = await add(desk, "growing", {"how": "grows", "at": 2, **trades}, limits=limits)
    slim = await add(desk, "slim", trades, limits=limits)
    desk.settings = desk.settings.model_copy(update={"trading_heartbeat_seconds": 1})
    async with desk.running():
        for bars in (1, 1, 5):  # the process tells now and then how large it is
            await desk.bar(bars)
            await until_it_has_told(desk, growing)
        for bot_id in (growing, slim):
            await desk.books_agree(bot_id)
            assert (await bot(desk, bot_id)).error_count == 0
    pids = {bot_id: (await state(desk, bot_id))["pids"] for bot_id in (growing, slim)}
    assert [len(set(pids[bot_id])) for bot_id in (growing, slim)] == [2, 1]
    assert len(pids[growing]) == len(pids[slim]) == 7, "no bar is left out or done twice"
    sql = "SELECT side, quantity, price, filled_at FROM trading_fills WHERE bot_id = :id ORDER BY id"
    fills = [[tuple(row) for row in await desk.rows.all(sql, id=bot_id)] for bot_id in (growing, slim)]
    assert fills[0] == fills[1]
    assert len(fills[0]) == 6
