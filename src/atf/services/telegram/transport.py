"""Transport: answers go to Telegram and what it tells is heard, through aiogram. Nothing else here imports it.

What Telegram asks for is done: it is waited as long as it says, and a text whose formatting it refuses goes
plain.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    AiogramError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import (
    BotCommand,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeChat,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
)

from atf.telegram.person import Person
from atf.telegram.reply import Keyboard, Reply
from atf.telegram.rich_text import RichText

_LOGGER = logging.getLogger(__name__)
_TRIES: Final = 4
_LONGEST_WAIT: Final = 30.0
_FIRST_PAUSE: Final = 0.5
_UNCHANGED: Final = "message is not modified"
T = TypeVar("T")


def build_bot(token: str, api_url: str) -> Bot:
    """Return aiogram's client of a bot; it connects with the first call."""
    return Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(api_url.rstrip("/"))))


class Transport:
    """Sends answers, and edits them where a button was pressed."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def send(self, person: Person, reply: Reply, *, in_place_of: Message | None = None) -> bool:
        """Send an answer; at a press it takes the place of the message, so that lists do not flood a chat.

        Return whether that is over: a person who has blocked the bot gets nothing, now and later.
        """
        try:
            if reply.photo is not None or reply.document is not None:
                await self._send_file(person, reply)
            elif in_place_of is None or not await self._edit(in_place_of, reply):
                await self._send_text(person, reply)
        except TelegramForbiddenError as exc:
            _LOGGER.info("an answer reaches nobody: %s", exc)
        except AiogramError as exc:  # one that cannot be read may mean that it arrived: it is not sent again
            _LOGGER.warning("an answer was not sent: %s", exc)
            return False
        return True

    async def answer_press(self, press_id: str, alert: str | None = None) -> None:
        """Stop the button's clock, with words over the chat if there are any."""
        try:
            await _insisting(
                lambda: self._bot.answer_callback_query(press_id, text=alert, show_alert=bool(alert))
            )
        except AiogramError as exc:  # a press is too old after a while, and nobody waits for it any more
            _LOGGER.info("a press was not answered: %s", exc)

    async def set_menu(
        self, language: str | None, commands: Mapping[str, str], chat_id: int | None = None
    ) -> None:
        """Show commands with their lines in the menu, to everybody or in one chat."""
        scope = BotCommandScopeAllPrivateChats() if chat_id is None else BotCommandScopeChat(chat_id=chat_id)
        listed = [BotCommand(command=name, description=line) for name, line in commands.items()]
        await _insisting(lambda: self._bot.set_my_commands(listed, scope=scope, language_code=language))

    async def _send_text(self, person: Person, reply: Reply) -> None:
        keyboard = _markup(reply.keyboard)

        async def send(text: str, mode: str | None) -> object:
            return await self._bot.send_message(
                person.chat_id, text, parse_mode=mode, reply_markup=keyboard, disable_web_page_preview=True
            )

        await _formatted(reply.text, send)

    async def _edit(self, message: Message, reply: Reply) -> bool:
        """Put an answer in place of a message; return False if that cannot be, as of one that is too old."""
        keyboard = _markup(reply.keyboard)

        async def edit(text: str, mode: str | None) -> object:
            return await self._bot.edit_message_text(
                text,
                chat_id=message.chat.id,
                message_id=message.message_id,
                parse_mode=mode,
                reply_markup=keyboard,
            )

        try:
            await _formatted(reply.text, edit)
        except TelegramBadRequest as exc:
            return _UNCHANGED in str(exc)
        return True

    async def _send_file(self, person: Person, reply: Reply) -> None:
        keyboard = _markup(reply.keyboard)

        async def send(text: str, mode: str | None) -> object:
            if reply.photo is not None:
                photo = BufferedInputFile(reply.photo, "chart.png")
                return await self._bot.send_photo(
                    person.chat_id, photo, caption=text, parse_mode=mode, reply_markup=keyboard
                )
            name, content = reply.document or ("file", b"")
            document = BufferedInputFile(content, name)
            return await self._bot.send_document(
                person.chat_id, document, caption=text, parse_mode=mode, reply_markup=keyboard
            )

        await _formatted(reply.text, send)


async def _formatted(text: RichText, send: Callable[[str, str | None], Awaitable[object]]) -> None:
    """Send a text formatted, or plain if Telegram cannot read the format."""
    try:
        await _insisting(lambda: send(text.markdown, "MarkdownV2"))
    except TelegramBadRequest as exc:
        if "parse entities" not in str(exc):
            raise
        _LOGGER.warning("Telegram cannot read a text's format, it goes plain: %s", exc)
        await _insisting(lambda: send(text.plain, None))


async def _insisting(call: Callable[[], Awaitable[T]]) -> T:
    """Call again after the pause that Telegram asks for, or if it could not be reached for a moment."""
    pause = _FIRST_PAUSE
    for _ in range(_TRIES - 1):
        try:
            return await call()
        except TelegramRetryAfter as exc:
            await asyncio.sleep(min(_LONGEST_WAIT, exc.retry_after))
        except (TelegramNetworkError, TelegramServerError):
            await asyncio.sleep(pause)
            pause *= 2
    return await call()


def _markup(keyboard: Keyboard) -> InlineKeyboardMarkup | None:
    rows = [
        [InlineKeyboardButton(text=button.label, callback_data=button.command) for button in row]
        for row in keyboard
    ]
    return InlineKeyboardMarkup(inline_keyboard=rows) if rows else None
