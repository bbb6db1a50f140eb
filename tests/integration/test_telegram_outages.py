"""What people notice of it when Telegram is away, or the bot was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from tests.integration.conftest import Eventually
from tests.integration.telegram_desk import PATIENCE, TelegramDesk, quiet_desk, running_bot, telegram_desk

from atf.bootstrap.client import open_client
from atf.services.telegram.webhook import Webhook
from atf.settings import Settings
from atf.storage.database import Database
from atf.testing.telegram_faults import Fault


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TelegramDesk]:
    async with telegram_desk(tmp_path, database_url, database) as found:
        yield found


async def open_words(desk: TelegramDesk) -> list[str]:
    return await desk.rows.column("SELECT words FROM telegram_updates WHERE ended_at IS NULL")


def desk_is_done(desk: TelegramDesk) -> Callable[[], Awaitable[bool]]:
    """Nothing is left that would be told as cut off."""

    async def is_done() -> bool:
        return await open_words(desk) == []

    return is_done


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.BROKEN])
async def test_what_a_kill_cut_off_is_told_when_the_bot_is_back_and_only_then_forgotten(
    tmp_path: Path, database_url: str, database: Database, fault: Fault
) -> None:
    async with quiet_desk(tmp_path, database_url, database) as (desk, settings):
        await desk.rows.change(
            "INSERT INTO telegram_updates (update_id, telegram_id, chat_id, language, words) "
            "VALUES (1, :id, :id, 'en', '/alert AAPL > 150')",
            id=desk.ann.chat.chat_id,
        )
        desk.telegram.misbehave(fault, method="sendMessage")
        async with running_bot(settings):
            await desk.telegram.until_requested("sendMessage")
            if fault is not Fault.SILENT:
                await desk.telegram.until_polled()
        assert await open_words(desk) == ["/alert AAPL > 150"], "nobody was told, so it is not forgotten"
        desk.telegram.behave()
        async with running_bot(settings):
            told = await desk.ann.chat.next_message(within=PATIENCE)
            assert "ATF was restarted while it did this: /alert AAPL > 150." in told.text
            await desk.telegram.until_polled()
        assert await open_words(desk) == []


async def test_after_an_outage_what_is_in_work_is_answered_and_not_told_as_cut_off(
    desk: TelegramDesk, eventually: Eventually
) -> None:
    desk.telegram.misbehave(Fault.SILENT, method="sendMessage", times=1)
    await desk.ann.chat.say("/info")
    await desk.telegram.until_requested("sendMessage")
    desk.telegram.misbehave(Fault.SILENT, method="sendMessage", times=1)
    await desk.telegram.refuse_connections()
    await desk.telegram.listen_again()
    await desk.telegram.until_requested("getMe", times=2)
    await desk.telegram.until_polled()
    assert await open_words(desk) == ["/info"], "it is in work all the time"
    desk.telegram.behave()
    await desk.telegram.refuse_connections()
    await desk.telegram.listen_again()
    assert "User: ann" in (await desk.ann.chat.next_message(within=PATIENCE)).text
    await eventually(desk_is_done(desk))
    assert len(desk.ann.chat.messages) == 1


@pytest.mark.parametrize(
    "fault", [Fault.BAD_GATEWAY, Fault.BROKEN, Fault.TRUNCATED, Fault.WRONG_SHAPE, Fault.HTML, Fault.CUT]
)
async def test_updates_that_cannot_be_read_are_asked_for_again(desk: TelegramDesk, fault: Fault) -> None:
    desk.telegram.misbehave(fault, method="getUpdates", times=1)
    assert "User: eve" in await desk.eve.say("/info")
    assert "User: ann" in await desk.ann.say("/info")


async def test_an_answer_whose_receipt_cannot_be_read_is_not_sent_again(
    desk: TelegramDesk, eventually: Eventually
) -> None:
    desk.telegram.misbehave(Fault.HTML, method="sendMessage", times=1)
    assert "User: ann" in await desk.ann.say("/info")
    assert "Time zone" in await desk.ann.say("/settings")
    assert len(desk.ann.chat.messages) == 2
    await eventually(desk_is_done(desk))


async def test_what_lets_somebody_in_is_not_written_down(
    desk: TelegramDesk, tmp_path: Path, database_url: str, eventually: Eventually
) -> None:
    async with open_client(Settings(home=tmp_path, database_url=database_url), "ann") as client:
        link = await client.credentials.make_account_link(client.user_id)
    desk.telegram.misbehave(Fault.SILENT, method="sendMessage")
    await desk.stranger.chat.say(f"/start {link.token.text.removeprefix('atf_link_')}")
    await desk.eve.chat.say("/Verify@some_bot\n123456")
    await desk.ann.chat.say("/info page 1")

    async def are_heard() -> bool:
        return sorted(await open_words(desk)) == ["/info page 1", "/start", "/verify"]

    await eventually(are_heard)
    assert all(link.token.text[9:] not in words for words in await open_words(desk))


async def test_what_is_pushed_before_the_bot_is_ready_is_pushed_again(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    """As long as the bot does not know what was left open, it takes nothing in."""
    public_url = "https://atf.example.org"
    async with (
        quiet_desk(tmp_path, database_url, database, telegram_webhook_url=public_url) as (desk, settings),
        AsyncExitStack() as stack,
    ):
        desk.telegram.webhook.reached_at = "http://127.0.0.1:9"  # what is pushed here comes from the test
        secret = Webhook.of(public_url, desk.telegram.token).secret
        person = {"id": desk.ann.chat.chat_id, "is_bot": False, "first_name": "Ann"}
        chat = {"id": desk.ann.chat.chat_id, "type": "private"}
        message = {"message_id": 1, "date": 1, "text": "/info", "from": person, "chat": chat}

        async def push() -> httpx.Response:
            (endpoints,) = await desk.rows.column("SELECT endpoints FROM service_registry")
            own = endpoints["notify"].removesuffix("/api/notify") + "/telegram/webhook"
            async with httpx.AsyncClient(trust_env=False) as telegram:
                headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
                return await telegram.post(own, headers=headers, json={"update_id": 7, "message": message})

        async with database.transaction() as locked:
            await locked.execute(text("LOCK TABLE telegram_updates IN ACCESS EXCLUSIVE MODE"))
            await stack.enter_async_context(running_bot(settings))
            refused = await push()
            assert (refused.status_code, refused.json()["detail"]) == (503, "the bot is not ready yet")
        await desk.telegram.until_requested("getWebhookInfo")
        assert (await push()).status_code == 200
        assert "User: ann" in (await desk.ann.chat.next_message(within=PATIENCE)).text
