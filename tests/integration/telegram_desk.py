"""The whole bot in the test's own loop: the real aiogram, a local Telegram, a real database, and people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.integration.conftest import Rows

from atf.bootstrap.telegram import telegram_process
from atf.lifecycle import Progress
from atf.settings import Settings
from atf.storage.database import Database
from atf.testing.telegram import LocalTelegram, TelegramLimits, local_telegram
from atf.testing.telegram_chats import Chat
from atf.testing.telegram_messages import Message, Person

PATIENCE = timedelta(seconds=20)
USERS = {"owner": "admin", "ann": "trader", "eve": "viewer"}


@dataclass
class Talker:
    """A person in a private chat with the bot."""

    name: str
    chat: Chat

    @property
    def person(self) -> Person:
        """Who it is at Telegram."""
        assert self.chat.person is not None
        return self.chat.person

    async def ask(self, words: str) -> Message:
        """Say something and return the bot's next message."""
        await self.chat.say(words)
        return await self.chat.next_message(within=PATIENCE)

    async def say(self, words: str) -> str:
        """Say something and return the words of the bot's next message."""
        return (await self.ask(words)).text

    async def press(self, button: str, message: Message) -> Any:
        """Press a button and wait until the bot has answered the press."""
        query = await self.chat.press(button, message=message)
        await self.chat.until_answered(query)
        return query

    async def press_for(self, button: str, message: Message) -> Message:
        """Press a button whose answer takes the place of the message; return it as it looks then."""
        versions = len(message.versions)
        await self.press(button, message)
        await self.chat.until(lambda: len(message.versions) > versions, within=PATIENCE)
        return message


@dataclass
class TelegramDesk:
    """The bot and the people: owner (admin), ann (trader) and eve (viewer) are linked, stranger is nobody."""

    telegram: LocalTelegram
    rows: Rows
    owner: Talker
    ann: Talker
    eve: Talker
    stranger: Talker

    async def join(self, name: str, role: str, **person: Any) -> Talker:
        """Let somebody else in, with what Telegram says of the person."""
        return await _linked(self.telegram, self.rows, name, role, **person)


@asynccontextmanager
async def telegram_desk(
    home: Path, database_url: str, database: Database, *, limits: TelegramLimits | None = None, **settings: Any
) -> AsyncIterator[TelegramDesk]:
    """Run the bot until the block ends."""
    async with (
        quiet_desk(home, database_url, database, limits=limits, **settings) as (desk, given),
        running_bot(given),
    ):
        if given.telegram_webhook_url is None:
            await desk.telegram.until_polled()
        else:
            (endpoints,) = await desk.rows.column("SELECT endpoints FROM service_registry")
            desk.telegram.webhook.reached_at = endpoints["notify"].removesuffix("/api/notify")
            await desk.telegram.until_requested("getWebhookInfo")
        yield desk


@asynccontextmanager
async def quiet_desk(
    home: Path, database_url: str, database: Database, *, limits: TelegramLimits | None = None, **settings: Any
) -> AsyncIterator[tuple[TelegramDesk, Settings]]:
    """Yield Telegram and the people, and with which settings a bot serves them that does not run yet."""
    rows = Rows(database)
    async with local_telegram(limits=limits or TelegramLimits.off()) as telegram:
        owner, ann, eve = [await _linked(telegram, rows, name, role) for name, role in USERS.items()]
        given = Settings(
            home=home,
            database_url=database_url,
            telegram_token=telegram.token,
            telegram_api_url=telegram.url,
            notifications_port=0,
            worker_lease_seconds=2,
            **settings,
        )
        stranger = Talker("stranger", telegram.private_chat(first_name="Sam"))
        yield TelegramDesk(telegram, rows, owner, ann, eve, stranger), given


@asynccontextmanager
async def running_bot(settings: Settings) -> AsyncIterator[None]:
    """Run the process of the bot in this loop."""
    async with telegram_process(settings, Progress()) as service:
        await service.start()
        try:
            yield
        finally:
            await service.stop()


async def _linked(telegram: LocalTelegram, rows: Rows, name: str, role: str, **person: Any) -> Talker:
    if name != "owner":
        await rows.change("INSERT INTO users (name, role) VALUES (:name, :role)", name=name, role=role)
    chat = telegram.private_chat(first_name=name.title(), **person)
    await rows.change(
        "INSERT INTO user_identities (user_id, kind, value) "
        "SELECT id, 'telegram', :value FROM users WHERE name = :name",
        name=name,
        value=str(chat.chat_id),
    )
    return Talker(name, chat)
