"""Bots on a real database: through the gate, by version, with a history, and waking the trading service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from atf.bootstrap.client import Client, open_client
from atf.errors import Conflict, Forbidden, InvalidInput, NotFound
from atf.security.role import Role
from atf.security.user import Quotas
from atf.settings import Settings
from atf.storage.bot_records_repository import PostgresBotRecords
from atf.storage.bots_repository import PostgresBots
from atf.storage.database import Database
from atf.trading.bot import Bot, BotStatus, DesiredState, TradingState
from atf.trading.bot_records import RecordFilter
from atf.trading.bot_store import ConfigEdit, NewBot
from atf.trading.bots_service import BotsService
from atf.trading.config_changes import ChangeKind, Difference

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

CONFIG: dict[str, Any] = {
    "symbol": "AAPL",
    "timeframe": "1d",
    "strategy": {"name": "sma_cross", "params": {"fast": 10, "note": None}},
    "broker": {"type": "paper"},
    "capital": "1000.000000000000000001",
}
OWNER = 1


@pytest.fixture
def bots(database: Database) -> BotsService:
    return BotsService(PostgresBots(database), PostgresBotRecords(database))


@pytest.fixture
async def bot(bots: BotsService) -> Bot:
    return await bots.add(OWNER, NewBot("first", CONFIG, "to begin with"))


@dataclass(frozen=True)
class Two:
    """Two traders."""

    ann: Client
    zoe: Client


@pytest.fixture
async def two(tmp_path: Path, database_url: str) -> AsyncIterator[Two]:
    settings = Settings(home=tmp_path, database_url=database_url)
    async with open_client(settings) as admin:
        for name in ("ann", "zoe"):
            await admin.users.add_user(name, Role.TRADER)
    async with open_client(settings, "ann") as ann, open_client(settings, "zoe") as zoe:
        yield Two(ann, zoe)


async def history(bots: BotsService, bot: Bot) -> list[str]:
    """What is told of a bot, oldest first."""
    return [one.text for one in reversed(await bots.events(OWNER, bot.id))]


async def runs(rows: Rows, bot: Bot, status: str = "running") -> None:
    """Let a bot be as the trading service would have it."""
    await rows.change("UPDATE trading_bots SET status = :status WHERE id = :id", status=status, id=bot.id)


async def holds(rows: Rows, bot: Bot, symbol: str = "AAPL") -> None:
    await rows.change(
        "INSERT INTO trading_positions (bot_id, symbol, direction, quantity, cost, status, opened_at) "
        "VALUES (:id, :symbol, 'SHORT', -3, 10, 'open', now())",
        id=bot.id,
        symbol=symbol,
    )


async def test_a_new_bot_is_stopped_has_one_version_and_comes_back_as_it_was_given(
    bots: BotsService, bot: Bot
) -> None:
    assert (bot.status, bot.desired_state, bot.trading_state) == ("stopped", "stopped", "ACTIVE")
    found = await bots.get(OWNER, bot.id)
    assert (found, found.config, found.version) == (bot, CONFIG, 1)
    assert await bots.list_bots(OWNER) == [bot]
    (version,) = await bots.versions(OWNER, bot.id)
    assert (version.version, version.config, version.note, version.changed_by) == (
        1,
        CONFIG,
        "to begin with",
        "atf",
    )


async def test_a_name_is_one_bots_until_that_is_deleted(bots: BotsService, bot: Bot) -> None:
    with pytest.raises(Conflict, match="there is a bot 'first' already"):
        await bots.add(OWNER, NewBot("first", CONFIG))
    other = await bots.add(OWNER, NewBot("second", CONFIG))
    with pytest.raises(Conflict, match="there is a bot 'first' already"):
        await bots.rename(OWNER, other.id, "first")
    await bots.delete(OWNER, bot.id)
    assert (await bots.rename(OWNER, other.id, "first")).bot.name == "first"
    assert (await bots.add(OWNER, NewBot("second", CONFIG))).id > other.id


async def test_of_many_who_take_the_last_place_of_a_user_at_once_one_gets_it(
    database: Database, rows: Rows
) -> None:
    bots = BotsService(PostgresBots(database, Quotas(bots=2)), PostgresBotRecords(database))
    first = await bots.add(OWNER, NewBot("first", CONFIG))
    adding = [bots.add(OWNER, NewBot(f"b{number}", CONFIG)) for number in range(5)]
    found = await asyncio.gather(*adding, return_exceptions=True)
    assert [str(one) for one in found if isinstance(one, Exception)] == [
        "a user may have 2 bots here, and has as many; delete one first"
    ] * 4
    await bots.delete(OWNER, first.id)
    await bots.add(OWNER, NewBot("third", CONFIG))
    await rows.change("UPDATE users SET bots_limit = 0")
    await bots.add(OWNER, NewBot("fourth", CONFIG))


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, "a\0"])
async def test_a_name_must_be_one(bots: BotsService, bot: Bot, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^name: "):
        await bots.add(OWNER, NewBot(name, CONFIG))
    with pytest.raises(InvalidInput, match=r"^name: "):
        await bots.rename(OWNER, bot.id, name)


async def test_bots_are_listed_by_status_and_page(bots: BotsService, rows: Rows) -> None:
    made = [await bots.add(OWNER, NewBot(f"b{number}", CONFIG)) for number in range(4)]
    await runs(rows, made[1])
    assert [one.name for one in await bots.list_bots(OWNER, BotStatus.STOPPED)] == ["b0", "b2", "b3"]
    assert [one.name for one in await bots.list_bots(OWNER, after_id=made[1].id, limit=1)] == ["b2"]
    with pytest.raises(InvalidInput, match=r"^limit: "):
        await bots.list_bots(OWNER, limit=0)


async def test_each_change_is_a_version_and_a_refused_one_is_none(bots: BotsService, bot: Bot) -> None:
    edited = await bots.edit(
        OWNER, bot.id, ConfigEdit(patch={"capital": 5, "risk": {"may_short": False}}, note="less")
    )
    assert (edited.version, edited.config["capital"], edited.config["symbol"]) == (2, 5, "AAPL")
    with pytest.raises(InvalidInput, match=r"^timeframe: .*; capital: "):
        await bots.edit(OWNER, bot.id, ConfigEdit(patch={"capital": -5, "timeframe": "x"}))
    with pytest.raises(InvalidInput, match=r"^timeframe: is missing"):
        await bots.edit(OWNER, bot.id, ConfigEdit(patch={"timeframe": None}))
    assert await bots.get(OWNER, bot.id) == edited
    assert [(one.version, one.note) for one in await bots.versions(OWNER, bot.id)] == [
        (2, "less"),
        (1, "to begin with"),
    ]
    assert await bots.diff(OWNER, bot.id, 1, 2) == [
        Difference("capital", ChangeKind.CHANGED, CONFIG["capital"], 5),
        Difference("risk", ChangeKind.ADDED, None, {"may_short": False}),
    ]


async def test_a_bot_goes_on_trading_what_it_holds_whatever_its_configuration_becomes(
    bots: BotsService, bot: Bot, rows: Rows
) -> None:
    two = {"symbol": None, "symbols": ["AAPL", "MSFT"]}
    await bots.edit(OWNER, bot.id, ConfigEdit(patch=two))
    await holds(rows, bot)
    with pytest.raises(Conflict, match=rf"bot {bot.id} holds or has orders of AAPL, .* close that first"):
        await bots.edit(OWNER, bot.id, ConfigEdit(patch={"symbols": ["MSFT"]}))
    assert (await bots.edit(OWNER, bot.id, ConfigEdit(patch={"symbols": ["AAPL"]}))).version == 3


async def test_what_says_the_same_is_no_version(bots: BotsService, bot: Bot) -> None:
    same = dict(reversed(CONFIG.items()))
    assert (await bots.edit(OWNER, bot.id, ConfigEdit(config=same))).version == 1
    assert len(await bots.versions(OWNER, bot.id)) == 1


async def test_of_two_who_change_the_same_version_one_is_told(bots: BotsService, bot: Bot) -> None:
    await bots.edit(OWNER, bot.id, ConfigEdit(patch={"capital": 5}, version=1))
    with pytest.raises(Conflict, match="by somebody else"):
        await bots.edit(OWNER, bot.id, ConfigEdit(patch={"capital": 6}, version=1))


async def test_of_two_changes_that_have_seen_the_same_version_one_is_stored(
    bots: BotsService, bot: Bot, database: Database
) -> None:
    store = PostgresBots(database)
    both = await asyncio.gather(*(store.store_config(bot, {**CONFIG, "capital": n}, "") for n in (5, 6)))
    (stored,) = [one for one in both if one is not None]
    assert (await bots.get(OWNER, bot.id)) == stored
    assert [one.version for one in await bots.versions(OWNER, bot.id)] == [2, 1]


async def test_an_old_version_comes_back_as_a_new_one(bots: BotsService, bot: Bot) -> None:
    await bots.edit(OWNER, bot.id, ConfigEdit(patch={"capital": 5}))
    back = await bots.rollback(OWNER, bot.id, 1)
    assert (back.version, back.config) == (3, CONFIG)
    assert (await bots.versions(OWNER, bot.id))[0].note == "back to version 1"
    with pytest.raises(NotFound, match="has no version 7; its newest is 3"):
        await bots.rollback(OWNER, bot.id, 7)
    with pytest.raises(Conflict):
        await bots.rollback(OWNER, bot.id, 2, known_version=2)


async def test_words_change_wishes_and_are_told(bots: BotsService, bot: Bot, rows: Rows) -> None:
    await rows.change("UPDATE trading_bots SET status = 'error', error_count = 3, last_error = 'x'")
    started = (await bots.start(OWNER, bot.id)).bot
    assert (started.desired_state, started.status, started.error_count) == (DesiredState.RUNNING, "stopped", 0)
    assert started.last_error is None
    await runs(rows, bot)
    assert (await bots.start(OWNER, bot.id)).text == "is running already"
    assert (await bots.pause(OWNER, bot.id)).bot.trading_state is TradingState.REDUCING
    await rows.change("UPDATE trading_bots SET trading_state = 'HALTED'")
    resumed = await bots.resume(OWNER, bot.id)
    assert (resumed.bot.trading_state, resumed.bot.status) == (TradingState.ACTIVE, BotStatus.RUNNING)
    with pytest.raises(Conflict, match="stop it first"):
        await bots.disable(OWNER, bot.id)
    assert (await bots.stop(OWNER, bot.id)).bot.desired_state is DesiredState.STOPPED
    await runs(rows, bot, "stopped")
    assert (await bots.disable(OWNER, bot.id)).bot.status is BotStatus.DISABLED
    assert (await bots.enable(OWNER, bot.id)).bot == await bots.get(OWNER, bot.id)
    assert await history(bots, bot) == [
        "is added",
        "is to run, its errors are forgiven",
        "is paused: it only closes what it holds",
        "was halted, and may trade again",
        "is to stop, and stays so until it is started",
        "is disabled: nothing starts it until it is enabled",
        "may be started",
    ]


async def test_a_word_waits_for_what_the_service_is_writing(
    bots: BotsService, bot: Bot, database: Database, rows: Rows, eventually: Callable[..., Awaitable[None]]
) -> None:
    """The service says that it starts the bot: a ``disable`` at the same moment sees that, and is refused."""
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE trading_bots SET status = 'starting'"))
        word = asyncio.create_task(bots.disable(OWNER, bot.id))
        await eventually(rows.somebody_waits_for_a_lock)
    with pytest.raises(Conflict, match="is starting"):
        await word
    assert (await bots.get(OWNER, bot.id)).status is BotStatus.STARTING


async def test_a_restart_is_asked_for_once_until_it_is_taken(bots: BotsService, bot: Bot, rows: Rows) -> None:
    with pytest.raises(Conflict, match="does not run"):
        await bots.restart(OWNER, bot.id)
    await bots.start(OWNER, bot.id)
    await runs(rows, bot)
    first = await bots.restart(OWNER, bot.id, "key")
    assert (first.command, first.accepted_at) == ("restart", None)
    assert await bots.restart(OWNER, bot.id) == first, "one that waits is enough"
    await runs(rows, bot, "stopped")
    with pytest.raises(Conflict, match="does not run"):
        await bots.restart(OWNER, bot.id)
    await runs(rows, bot)
    await rows.change("UPDATE trading_bot_commands SET accepted_at = now(), outcome = 'done'")
    assert (await bots.restart(OWNER, bot.id, "key")).outcome == "done", "a key is done once"
    second = await bots.restart(OWNER, bot.id)
    assert second.id > first.id
    told = await rows.all("SELECT bot_id, user_id, command, source FROM trading_bot_commands")
    assert [tuple(row) for row in told] == [(bot.id, OWNER, "restart", "user:atf")] * 2


async def test_what_runs_or_holds_something_is_not_deleted(bots: BotsService, bot: Bot, rows: Rows) -> None:
    await runs(rows, bot)
    with pytest.raises(Conflict, match="stop it first"):
        await bots.delete(OWNER, bot.id, force=True)
    await runs(rows, bot, "stopped")
    await holds(rows, bot)
    with pytest.raises(Conflict, match="holds AAPL; "):
        await bots.delete(OWNER, bot.id)
    await bots.delete(OWNER, bot.id, force=True)
    with pytest.raises(NotFound, match=f"there is no bot {bot.id}"):
        await bots.get(OWNER, bot.id)
    assert await bots.list_bots(OWNER) == []
    assert await rows.value("SELECT deleted_at IS NOT NULL FROM trading_bots")
    assert await rows.value("SELECT count(*) FROM trading_positions") == 1


async def test_every_change_wakes_the_trading_service(
    bots: BotsService, bot: Bot, database: Database, rows: Rows
) -> None:
    words: Mapping[str, Callable[[], Awaitable[object]]] = {
        "add": lambda: bots.add(OWNER, NewBot("another", CONFIG)),
        "edit": lambda: bots.edit(OWNER, bot.id, ConfigEdit(patch={"capital": 5})),
        "rollback": lambda: bots.rollback(OWNER, bot.id, 1),
        "start": lambda: bots.start(OWNER, bot.id),
        "pause": lambda: bots.pause(OWNER, bot.id),
        "resume": lambda: bots.resume(OWNER, bot.id),
        "stop": lambda: bots.stop(OWNER, bot.id),
        "disable": lambda: bots.disable(OWNER, bot.id),
        "enable": lambda: bots.enable(OWNER, bot.id),
        "rename": lambda: bots.rename(OWNER, bot.id, "other"),
        "delete": lambda: bots.delete(OWNER, bot.id),
    }
    connection = await database.connect()
    try:
        await connection.execute("LISTEN atf_bots")
        for word, call in words.items():
            await call()
            heard = [one async for one in connection.notifies(timeout=5, stop_after=1)]
            assert len(heard) == 1, word
    finally:
        await connection.close()


async def test_what_a_bot_did_is_listed_newest_first_by_page(bots: BotsService, bot: Bot, rows: Rows) -> None:
    values = {"id": bot.id}
    for number, status in enumerate(("filled", "accepted", "filled"), 1):
        await rows.change(
            "INSERT INTO trading_orders (client_order_id, bot_id, bar_at, number, ref, symbol, side, type,"
            " quantity, status, filled_quantity, filled_cost)"
            " VALUES (:name, :id, now(), :number, 1, 'AAPL', 'buy', 'market', 3, :status, 3, 10)",
            name=f"o{number}",
            number=number,
            status=status,
            **values,
        )
    await rows.change(
        "INSERT INTO trading_fills (bot_id, client_order_id, venue_fill_id, symbol, side, quantity, price, fee,"
        " filled_at) VALUES (:id, 'o1', 'f1', 'AAPL', 'buy', 3, 3.5, 0.01, now())",
        **values,
    )
    await holds(rows, bot)
    await rows.change(
        "INSERT INTO trading_trades (bot_id, position_id, symbol, direction, largest, entry_quantity, entry_cost,"
        " status, entry_time) SELECT :id, id, 'AAPL', 'SHORT', 3, 3, 10.5, 'open', now() FROM trading_positions",
        **values,
    )
    await rows.change(
        "INSERT INTO trading_equity SELECT :id, day, 5, 4 FROM generate_series("
        "'2026-01-01'::timestamptz, '2026-01-05', '1 day') AS day",
        **values,
    )
    orders = await bots.orders(OWNER, bot.id)
    assert [one.client_order_id for one in orders] == ["o3", "o2", "o1"]
    assert str(orders[0].average_price).startswith("3.33333")
    assert [one.client_order_id for one in await bots.orders(OWNER, bot.id, RecordFilter(only_open=True))] == [
        "o2"
    ]
    page = RecordFilter(before_id=orders[0].id, limit=1)
    assert [one.client_order_id for one in await bots.orders(OWNER, bot.id, page)] == ["o2"]
    (fill,) = await bots.fills(OWNER, bot.id)
    assert (fill.price, fill.fee) == (Decimal("3.5"), Decimal("0.01"))
    (position,) = await bots.positions(OWNER, bot.id, RecordFilter(only_open=True))
    assert (position.direction, position.quantity, position.status) == ("SHORT", Decimal(3), "open")
    (trade,) = await bots.trades(OWNER, bot.id)
    assert (trade.entry_price, trade.exit_price, str(trade.entry_price)) == (Decimal("3.5"), None, "3.5")
    equity = await bots.equity(OWNER, bot.id, limit=2)
    assert [one.bar_at.day for one in equity] == [5, 4]
    older = await bots.equity(OWNER, bot.id, before=equity[-1].bar_at)
    assert [one.bar_at.day for one in older] == [3, 2, 1]
    with pytest.raises(InvalidInput, match=r"^limit: "):
        await bots.trades(OWNER, bot.id, RecordFilter(limit=0))
    with pytest.raises(InvalidInput, match=r"^before_id: "):
        await bots.trades(OWNER, bot.id, RecordFilter(before_id=2**63))


@pytest.mark.parametrize("number", [0, -1, 99, 2**31, 2**63, 10**30])
async def test_a_number_that_is_no_bots_is_not_found(bots: BotsService, bot: Bot, number: int) -> None:
    for call in (bots.get, bots.start, bots.restart, bots.delete, bots.events, bots.equity, bots.versions):
        with pytest.raises(NotFound, match=f"there is no bot {number}"):
            await call(OWNER, number)
    with pytest.raises(NotFound, match="has no version"):
        await bots.diff(OWNER, bot.id, 1, number if number != 1 else 0)


async def test_nobody_sees_or_touches_another_ones_bots(two: Two) -> None:
    ann, zoe = two.ann, two.zoe
    bot = await ann.bots.add(ann.user_id, NewBot("ann's", CONFIG))
    assert await zoe.bots.list_bots(zoe.user_id) == []
    with pytest.raises(NotFound):
        await zoe.bots.get(zoe.user_id, bot.id)
    with pytest.raises(NotFound):
        await zoe.bots.start(zoe.user_id, bot.id)
    with pytest.raises(NotFound):
        await zoe.bots.delete(zoe.user_id, bot.id, force=True)
    with pytest.raises(Forbidden):
        await zoe.bots.get(ann.user_id, bot.id)
    assert (await zoe.bots.add(zoe.user_id, NewBot("ann's", CONFIG))).user_id == zoe.user_id
    assert await ann.bots.get(ann.user_id, bot.id) == bot


async def test_who_did_it_is_on_record(two: Two, rows: Rows) -> None:
    ann = two.ann
    bot = await ann.bots.add(ann.user_id, NewBot("mine", CONFIG))
    await ann.bots.edit(ann.user_id, bot.id, ConfigEdit(patch={"capital": 5}))
    await ann.bots.start(ann.user_id, bot.id)
    await runs(rows, bot)
    await ann.bots.restart(ann.user_id, bot.id)
    await ann.bots.stop(ann.user_id, bot.id)
    await runs(rows, bot, "stopped")
    await ann.bots.disable(ann.user_id, bot.id)
    await ann.bots.delete(ann.user_id, bot.id)
    done = await rows.column(
        "SELECT action FROM audit_log WHERE object_type = 'bot' AND actor = 'ann' ORDER BY id"
    )
    assert done == [
        *("bot.create", "bot.update", "bot.update", "bot.restart", "bot.update", "bot.disable", "bot.delete")
    ]
    assert await rows.column("SELECT DISTINCT details ->> 'by' FROM trading_bot_events") == ["ann"]
    assert await rows.column("SELECT DISTINCT changed_by FROM trading_bot_versions") == ["ann"]
    assert await rows.column("SELECT source FROM trading_bot_commands") == ["user:ann"]


async def test_a_configuration_is_checked_against_what_is_known_here(two: Two) -> None:
    ann = two.ann
    review = await ann.bots.validate(ann.user_id, CONFIG)
    assert [word for word in review.warnings if "AAPL" in word]
    wrong = {**CONFIG, "schedule": {"calendar": "XNYSE"}, "data": {"provider": "filez"}}
    with pytest.raises(InvalidInput) as refusal:
        await ann.bots.validate(ann.user_id, wrong)
    assert [one.field for one in refusal.value.problems] == ["schedule.calendar", "data.provider"]
    assert await ann.bots.list_bots(ann.user_id) == []
