"""The trading service: bots on paper, from their first bar to their last, through stops and crashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.trading_desk import BEGIN, DAY, TradingDesk, trading_desk

from atf.adapters.brokers.paper import PaperBroker, PaperVenue
from atf.errors import PermanentFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database

GARBLED = r"""import backtrader as bt
class Garbled(bt.Strategy):
    def next(self):
        raise ValueError("a\0b \ud800")
"""


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, database_url, database) as made:
        yield made


async def test_a_bot_trades_on_paper_and_the_books_agree(desk: TradingDesk) -> None:
    bot_id = await desk.add_bot(buy_at=[2], sell_at=[4], size=3)
    async with desk.running():
        await desk.until_status("running")
        await desk.bar(6)
        await desk.books_agree(bot_id)
    (trade,) = await desk.rows.all("SELECT * FROM trading_trades")
    assert (trade.status, trade.direction, trade.size) == ("closed", "LONG", 3)
    assert trade.exit_price - trade.entry_price == 2
    assert trade.realized_pnl == 6
    (bot,) = await desk.rows.all("SELECT * FROM trading_bots")
    assert (bot.status, bot.desired_state, bot.node_id) == ("stopped", "running", None)


async def test_a_bot_on_paper_can_be_filled_before_its_bar_has_closed(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    """The replay has hours of the day that is forming: its open fills what was ordered at the last close."""
    coin, day = "BTC/USDT", BEGIN + 11 * DAY
    hours = [(day + hour * timedelta(hours=1), 111.0, 113.0, 110.0, 112.0, 10.0) for hour in range(24)]
    await PostgresBarStore(database).store(Series(coin, Timeframe.H1), Bars.from_rows(hours))
    async with trading_desk(tmp_path, database_url, database, symbols=[coin]) as desk:
        live = {"type": "paper", "match_on": "live"}
        bot_id = await desk.add_bot(symbol=coin, buy_at=[1], size=3, broker=live)
        await _is_filled_within_its_day(desk, day)
        await desk.books_agree(bot_id)


async def _is_filled_within_its_day(desk: TradingDesk, day: datetime) -> None:
    async with desk.running():
        await desk.until_status("running")
        await desk.bar()
        await desk.until("SELECT status = 'accepted' FROM trading_orders")
        await desk.move_clock(timedelta(hours=2))
        await desk.until("SELECT count(*) = 1 FROM trading_fills")
        (fill,) = await desk.rows.all("SELECT * FROM trading_fills")
        assert (fill.price, fill.quantity, fill.filled_at) == (111, 3, day)
        await desk.move_clock(timedelta(hours=22))
        await desk.until_seen()
    assert await desk.rows.value("SELECT count(*) FROM trading_fills") == 1


async def test_a_bot_whose_symbol_is_not_known_any_more_says_so_to_its_owner(desk: TradingDesk) -> None:
    await desk.add_bot()
    async with desk.running():
        await desk.bar()
        await desk.rows.change("DELETE FROM market_bars")
        await desk.move_clock()
        await desk.until("SELECT count(*) = 1 FROM msg_messages WHERE title = 'Bot one waits for bars'")
        await desk.move_clock()
        await asyncio.sleep(0.5)
    found = await desk.rows.all("SELECT text, level FROM trading_bot_events WHERE kind = 'bars'")
    assert [(row.level, row.text.split(":")[0]) for row in found] == [("warning", "AAPL has no bars any more")]


async def test_a_heartbeat_says_what_a_bot_did_last(desk: TradingDesk) -> None:
    desk.settings = desk.settings.model_copy(update={"trading_heartbeat_seconds": 1})
    await desk.add_bot(buy_at=[1], size=3)
    begun = datetime.now(UTC)
    async with desk.running():
        await desk.bar(2)
        last = await desk.rows.value("SELECT last_processed_bar FROM trading_bot_states")
        vitals = "(extra_metadata -> 'vitals' ->> '{}')"
        is_done, is_beating = f"{vitals}::timestamptz = :last", f"{vitals} IS NOT NULL"
        question = f"SELECT {is_done.format('bar_at')} AND {is_beating.format('loop_at')} FROM trading_bots"
        await desk.until(question, last=last)
        (bot,) = await desk.rows.all("SELECT * FROM trading_bots")
    found = bot.extra_metadata["vitals"]
    assert found["waiting"] == 0
    assert found["memory_bytes"] > 2**20
    assert datetime.fromisoformat(found["loop_at"]) > begun
    assert datetime.fromisoformat(found["ack_at"]) > begun, "its order was acknowledged"
    assert bot.last_heartbeat > begun


async def test_a_bar_that_does_not_get_done_is_no_progress_though_the_process_lives(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.settings = desk.settings.model_copy(update={"trading_heartbeat_seconds": 0.6})
    told, never, asked = PaperBroker.told, asyncio.Event(), 0

    async def stuck_once(self: PaperBroker) -> None:
        nonlocal asked
        asked += 1
        await (never.wait() if asked == 2 else told(self))

    monkeypatch.setattr(PaperBroker, "told", stuck_once)
    await desk.add_bot(buy_at=[2], size=3)
    async with desk.running():
        await desk.bar(4)
        await desk.books_agree()
        (error,) = await desk.rows.column("SELECT text FROM trading_bot_events WHERE level = 'error'")
        assert error.startswith("no progress since ")


async def test_a_stop_and_a_start_go_on_with_what_was_held_and_with_the_strategys_own_state(
    desk: TradingDesk,
) -> None:
    bot_id = await desk.add_bot(buy_at=[2], sell_at=[6], size=3)
    async with desk.running():
        await desk.until_status("running")
        await desk.bar(3)
    assert await desk.rows.value("SELECT status FROM trading_bots") == "stopped"
    assert await desk.rows.value("SELECT qty_open FROM trading_positions WHERE status = 'open'") == 3
    async with desk.running():
        await desk.until_status("running")
        await desk.bar(4)
        await desk.books_agree(bot_id)
    state = await desk.rows.value("SELECT strategy_state FROM trading_bot_states")
    assert state["count"] == 7, "each bar is seen once"
    assert state["told"] == ["Submitted", "Accepted", "Completed"] * 2
    assert await desk.rows.column("SELECT status FROM trading_trades") == ["closed"]


async def test_a_strategy_that_explodes_is_started_three_times_more_and_then_given_up(desk: TradingDesk) -> None:
    bad = await desk.add_bot("bad", explode_at=1)
    good = await desk.add_bot("good", buy_at=[1])
    async with desk.running():
        await desk.until_status("running", bad)
        await desk.until_status("running", good)
        assert await desk.clock.step()
        await desk.until_status("error", bad)
        (row,) = await desk.rows.all("SELECT * FROM trading_bots WHERE id = :id", id=bad)
        assert row.error_count == 3
        assert "this strategy explodes" in row.last_error
        assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 1
        await desk.bar()
        await desk.books_agree(good)
    assert await desk.rows.value("SELECT status FROM trading_bots WHERE id = :id", id=bad) == "error"


async def test_an_error_that_no_text_of_a_database_can_hold_is_written_down_without_that(
    desk: TradingDesk,
) -> None:
    (desk.settings.home / "strategies" / "garbled.py").write_text(GARBLED, "utf-8")
    await desk.add_bot(strategy={"name": "garbled.py:Garbled"})
    async with desk.running():
        await desk.until_status("running")
        assert await desk.clock.step()
        await desk.until_status("error")
    told = "the strategy raised ValueError: ab ? (line 4 of garbled.py, in next)"
    assert await desk.rows.value("SELECT last_error FROM trading_bots") == told
    assert await desk.rows.value("SELECT body FROM msg_messages") == f"Bot one has stopped: {told}"


async def test_nor_does_a_venue_s_error_end_the_bot_without_a_word(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise PermanentFailure("the venue says a\0b")

    monkeypatch.setattr(PaperVenue, "open", refuse)
    await desk.add_bot()
    async with desk.running():
        await desk.until_status("error")
    assert await desk.rows.value("SELECT last_error FROM trading_bots") == "the venue says ab"
    assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 1


async def test_what_people_change_in_the_database_is_followed_without_a_restart(desk: TradingDesk) -> None:
    first = await desk.add_bot("first", buy_at=[1])
    async with desk.running():
        await desk.until_status("running", first)
        second = await desk.add_bot("second")
        await desk.until_status("running", second)
        await desk.rows.change("UPDATE trading_bots SET desired_state = 'stopped' WHERE id = :id", id=first)
        await desk.until_status("stopped", first)
        await desk.rows.change("UPDATE trading_bots SET trading_state = 'REDUCING' WHERE id = :id", id=second)
        await desk.rows.change(
            "UPDATE trading_bots SET version = 2, config = jsonb_set(config, '{strategy,params}', "
            "'{\"buy_at\": [1]}') WHERE id = :id",
            id=second,
        )
        await desk.until(
            "SELECT count(*) = 2 FROM trading_bot_events WHERE bot_id = :id AND kind = 'running'", id=second
        )
        await desk.bar()
        reasons = await desk.rows.column("SELECT reason FROM trading_orders WHERE bot_id = :id", id=second)
        assert reasons == ["risk: the bot is paused and may only close what it holds"]
    assert await desk.rows.value("SELECT count(*) FROM trading_orders WHERE bot_id = :id", id=first) == 0


async def test_a_service_that_lost_its_lease_lets_its_bots_go_and_takes_them_up_again(desk: TradingDesk) -> None:
    bot_id = await desk.add_bot(buy_at=[2], sell_at=[4], size=3)
    async with desk.running():
        await desk.until_status("running")
        await desk.bar(2)
        node = await desk.rows.value("SELECT node_id FROM trading_bots")
        await desk.rows.change("DELETE FROM workers")
        await desk.until(
            "SELECT node_id <> :node AND status = 'running' FROM trading_bots WHERE node_id IS NOT NULL",
            node=node,
        )
        await desk.bar(3)
        await desk.books_agree(bot_id)
    assert await desk.rows.column("SELECT status FROM trading_trades") == ["closed"]
    assert (await desk.rows.value("SELECT strategy_state FROM trading_bot_states"))["count"] == 5


async def test_what_alerts_and_people_want_of_a_bot_is_done_once_and_only_to_their_own(desk: TradingDesk) -> None:
    bot_id = await desk.add_bot(desired="stopped")
    await desk.rows.change("INSERT INTO users (name, role) VALUES ('ann', 'trader')")

    async def want(command: str, user_id: int = 1, bot: int = bot_id) -> str:
        key = f"{command}-{user_id}-{bot}"
        await desk.rows.change(
            "INSERT INTO trading_bot_commands (dedup_key, bot_id, user_id, command, payload, source) "
            "VALUES (:key, :bot, :user_id, :command, '{}', 'an alert')",
            key=key,
            bot=bot,
            user_id=user_id,
            command=command,
        )
        await desk.until(
            "SELECT accepted_at IS NOT NULL FROM trading_bot_commands WHERE dedup_key = :key", key=key
        )
        return str(
            await desk.rows.value("SELECT outcome FROM trading_bot_commands WHERE dedup_key = :key", key=key)
        )

    async with desk.running():
        assert await want("start", user_id=2) == "refused: there is no such bot"
        assert await want("start", bot=99) == "refused: there is no such bot"
        assert await want("restart") == "refused: the bot does not run"
        assert await want("start") == "done"
        await desk.until_status("running")
        assert await want("reconcile") == "matched"
        assert await want("signal") == "refused: no strategy takes a signal yet"
        assert await want("pause") == "done"
        assert await desk.rows.value("SELECT trading_state FROM trading_bots") == "REDUCING"
        assert await want("stop") == "done"
        await desk.until_status("stopped")
    assert await desk.rows.value("SELECT desired_state FROM trading_bots") == "stopped"
