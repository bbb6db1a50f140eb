"""Menus: which commands Telegram shows, in each language; administrators see theirs in their own chats."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aiogram.exceptions import AiogramError

from atf.services.telegram.transport import Transport
from atf.telegram.command import Access
from atf.telegram.command_desk import CommandDesk
from atf.telegram.person import Person
from atf.telegram.texts import bot_languages, bot_texts

_LOGGER = logging.getLogger(__name__)


class Menus:
    """Tells Telegram what to show."""

    def __init__(self, desk: CommandDesk, transport: Transport) -> None:
        self._desk = desk
        self._transport = transport
        self._shown: set[tuple[int, str]] = set()

    async def set_for_everybody(self) -> None:
        """Show in all private chats what every user may do; English where a language is none of ours."""
        for language in bot_languages():
            await self._transport.set_menu(None if language == "en" else language, self._lines(language))

    async def set_for_administrator(self, person: Person, language: str) -> None:
        """Show an administrator everything, in a chat with nobody else; each language once a start."""
        place = (person.chat_id, language)
        if not person.is_alone or place in self._shown:
            return
        try:
            await self._transport.set_menu(None, self._lines(language, Access.ADMIN), person.chat_id)
        except AiogramError as exc:  # the commands work without it
            _LOGGER.warning("an administrator's menu was not set: %s", exc)
            return
        self._shown = {one for one in self._shown if one[0] != person.chat_id} | {place}

    def _lines(self, language: str, access: Access = Access.USER) -> Mapping[str, str]:
        texts = bot_texts(language)
        return {
            command.name: texts(f"command-{command.name}")
            for command in self._desk.commands
            if command.in_menu and command.access <= access
        }
