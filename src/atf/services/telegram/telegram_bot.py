"""TelegramBot: hears what people say to it and answers, one thing at a time of each chat.

An update is remembered before Telegram is told that it was seen, and its end after the answer was sent. So none
is handled twice, and one that a kill cuts off is told to its person instead of being forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiogram import Bot, Dispatcher
from aiogram.exceptions import (
    AiogramError,
    TelegramConflictError,
    TelegramNotFound,
    TelegramUnauthorizedError,
)
from aiogram.types import CallbackQuery, Message, Update
from fastapi import FastAPI
from pydantic import ValidationError

from atf.errors import AtfError, InvalidInput, TemporaryFailure
from atf.jobs.retry import BackOff
from atf.lifecycle import Progress
from atf.notifications.background_service import BackgroundNotificationService
from atf.services.telegram.bot_state import BotState, Standing
from atf.services.telegram.hearing import ALLOWED_UPDATES, Hearing, hearing_of
from atf.services.telegram.menus import Menus
from atf.services.telegram.transport import Transport
from atf.services.telegram.webhook import Webhook
from atf.telegram.command_desk import CommandDesk, Heard
from atf.telegram.house import Interrupted, NewUpdate, Updates
from atf.telegram.person import Person
from atf.telegram.reply import Reply
from atf.telegram.texts import bot_texts

_LOGGER = logging.getLogger(__name__)
_POLL_SECONDS: Final = 20
_BACK_OFF: Final = BackOff(timedelta(seconds=1), cap=timedelta(seconds=30))
_WATCH_SECONDS: Final = 60.0
_MOST_AT_ONCE: Final = 16


class TelegramBot:
    """The bot; it owns the notification service and the HTTP application of its process."""

    def __init__(
        self,
        bot: Bot,
        desk: CommandDesk,
        updates: Updates,
        *,
        notification_service: BackgroundNotificationService,
        fastapi_app: FastAPI,
        state: BotState,
        progress: Progress,
        groups: bool = False,
        webhook: Webhook | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.notification_service = notification_service
        self.fastapi_app = fastapi_app
        self._bot = bot
        self._desk = desk
        self._updates = updates
        self._state = state
        self._progress = progress
        self._groups = groups
        self._jitter = jitter
        self._webhook = webhook
        self._tasks: asyncio.TaskGroup | None = None
        self._interrupted: list[Interrupted] = []
        self._failures = 0
        self._transport = Transport(bot)
        self._menus = Menus(desk, self._transport)
        self._chats: dict[int, asyncio.Queue[Update]] = {}
        self._width = asyncio.Semaphore(_MOST_AT_ONCE)
        self._dispatcher = Dispatcher()
        self._dispatcher.message.register(self._on_message)
        self._dispatcher.callback_query.register(self._on_press)

    async def start(self) -> None:
        """Deliver messages and listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.notification_service.process_notifications())
            group.create_task(self.start_polling())

    async def start_polling(self) -> None:
        """Hear what Telegram tells until cancelled, through outages and revoked tokens.

        With a webhook Telegram pushes it, and is asked now and then whether it can; else it is asked for updates.
        """
        self._state.set(Standing.STARTING)
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._open(group)
                    await self._greet_telegram()
                    await self._tell_interrupted()
                    await (self._poll() if self._webhook is None else self._watch_webhook(self._webhook))
                except (AiogramError, AtfError, OSError) as exc:
                    await asyncio.sleep(self._note(exc))

    async def process_command(self, person: Person, words: str, *, is_press: bool = False) -> Reply | None:
        """Return what the bot answers to a command, None for silence."""
        return await self._desk.answer(Heard(person, words, is_press))

    async def take(self, document: Mapping[str, Any]) -> None:
        """Take an update in that Telegram has pushed; it is remembered when this returns.

        Errors: InvalidInput if it is none; TemporaryFailure, and Telegram pushes it again.
        """
        try:
            update = Update.model_validate(document)
        except ValidationError as exc:
            raise InvalidInput("is no update of Telegram", field="body") from exc
        await self._begin(update)

    async def close(self) -> None:
        """Give back the connections."""
        await self._bot.session.close()

    async def _open(self, group: asyncio.TaskGroup) -> None:
        """Take nothing in before it is known what was left open; later it would look like what is in work."""
        if self._tasks is None:
            self._interrupted = list(await self._updates.interrupted())
            self._tasks = group

    async def _greet_telegram(self) -> None:
        """Learn the bot's own name, and see that updates come by polling."""
        me = await self._bot.get_me()
        self._state.username = self._desk.bot_name = me.username or ""
        if self._webhook is None:
            await self._bot.delete_webhook(drop_pending_updates=False)
        else:
            await self._bot.set_webhook(
                self._webhook.url, secret_token=self._webhook.secret, allowed_updates=list(ALLOWED_UPDATES)
            )
        await self._menus.set_for_everybody()
        self._reached()

    async def _tell_interrupted(self) -> None:
        while self._interrupted:
            one = self._interrupted[0]
            told = Reply.of(bot_texts(one.person.language)("bot-interrupted", words=one.words))
            if await self._transport.send(one.person, told):
                await self._updates.end(one.update_id)
            self._interrupted.pop(0)

    async def _watch_webhook(self, webhook: Webhook) -> None:
        """Ask Telegram whether the webhook still stands; one that somebody else has taken away is set again."""
        while True:
            found = await self._bot.get_webhook_info()
            if found.url != webhook.url:
                return
            self._reached()
            self._state.error = found.last_error_message
            await asyncio.sleep(_WATCH_SECONDS)

    async def _poll(self) -> None:
        offset: int | None = None
        while True:
            updates = await self._bot.get_updates(
                offset=offset,
                timeout=_POLL_SECONDS,
                allowed_updates=list(ALLOWED_UPDATES),
                request_timeout=2 * _POLL_SECONDS,
            )
            self._reached()
            for update in updates:
                await self._begin(update)
                offset = update.update_id + 1

    def _reached(self) -> None:
        if self._state.set(Standing.RUNNING):
            _LOGGER.info("the bot is @%s and listens", self._state.username)
        self._failures = 0
        self._state.reached_at = datetime.now(UTC)
        self._progress.mark()

    def _note(self, error: Exception) -> float:
        """Remember how the bot stands now; return after how many seconds to try again."""
        self._progress.mark()
        self._failures += 1
        if isinstance(error, TelegramUnauthorizedError | TelegramNotFound):
            standing = Standing.REJECTED
        elif isinstance(error, TelegramConflictError):
            standing = Standing.OCCUPIED
        else:
            standing = Standing.UNREACHABLE
        if self._state.set(standing, str(error)):
            _LOGGER.warning("the bot hears nothing now: %s: %s", standing, error)
        return _BACK_OFF.delay(self._failures, self._jitter()).total_seconds()

    async def _begin(self, update: Update) -> None:
        """Remember an update and put it in line behind those of its chat."""
        hearing = hearing_of(update, groups=self._groups)
        if hearing is None:
            return
        if self._tasks is None:
            raise TemporaryFailure("the bot is not ready yet")
        self._state.last_update_at = datetime.now(UTC)
        person = hearing.heard.person
        words = self._desk.recordable(hearing.heard)
        if not await self._updates.begin(NewUpdate(update.update_id, person, words)):
            return
        line = self._chats.get(person.chat_id)
        if line is None:
            line = self._chats[person.chat_id] = asyncio.Queue()
            self._tasks.create_task(self._answer_chat(person.chat_id, line))
        line.put_nowait(update)

    async def _answer_chat(self, chat_id: int, line: asyncio.Queue[Update]) -> None:
        while not line.empty():
            async with self._width:
                update = line.get_nowait()
                try:
                    await self._dispatcher.feed_update(self._bot, update)
                    await self._updates.end(update.update_id)
                except Exception:
                    _LOGGER.exception("update %d was not answered", update.update_id)
        del self._chats[chat_id]

    async def _on_message(self, message: Message, event_update: Update) -> None:
        del message
        await self._answer(hearing_of(event_update, groups=self._groups))

    async def _on_press(self, press: CallbackQuery, event_update: Update) -> None:
        del press
        await self._answer(hearing_of(event_update, groups=self._groups))

    async def _answer(self, hearing: Hearing | None) -> None:
        if hearing is None:
            return
        heard = hearing.heard
        reply = await self.process_command(heard.person, heard.words, is_press=heard.is_press)
        if hearing.press_id is not None:
            await self._transport.answer_press(hearing.press_id, None if reply is None else reply.alert)
        if reply is not None and reply.alert is None:
            await self._transport.send(heard.person, reply, in_place_of=hearing.pressed)
        if reply is not None and reply.menu is not None:
            await self._menus.set_for_administrator(heard.person, reply.menu)
