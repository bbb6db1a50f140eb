"""Channel ``telegram``: a bot writes to a chat.

A letter of several messages that breaks off is taken up again where it broke off, as long as this process lives.
A message whose answer was lost may come twice: Telegram takes no keys.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from atf.adapters.channels.letter_text import one_line
from atf.adapters.channels.telegram_answers import CannotParse
from atf.adapters.channels.telegram_api import OFFICIAL, TelegramApi
from atf.adapters.channels.telegram_parts import Part, parts_of
from atf.errors import PermanentFailure
from atf.notifications.channel import ChannelLimits, Letter, Reach, RecipientUnreachable, TextForm
from atf.notifications.message import Attachment

_LOGGER = logging.getLogger(__name__)
_LARGEST_PHOTO: Final = 10 * 1024 * 1024
_LARGEST_DOCUMENT: Final = 50 * 1024 * 1024
_GROUP_FACTOR: Final = 3
"""A group takes 20 messages a minute, a person 60."""
_MOST_BEGUN: Final = 1000
_NO_PREVIEW: Final = {"link_preview_options": json.dumps({"is_disabled": True})}


class TelegramChannel:
    """Sends texts, photos and documents through the Bot API.

    ``pause``: between messages of one letter to a person; to a group three times as long.
    """

    name = "telegram"
    is_idempotent = False
    disturbs = True
    reach = Reach.SHARED
    form = TextForm.MARKDOWN_V2
    limits = ChannelLimits(
        concurrency=16, per_second=30, per_recipient_second=1, per_group_minute=20, longest_text=3500
    )

    def __init__(
        self,
        token: str,
        *,
        base_url: str = OFFICIAL,
        proxy: str | None = None,
        pause: timedelta = timedelta(seconds=1),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Errors: ConfigurationError if the token or a URL cannot be one."""
        self._api = TelegramApi(token, base_url, proxy, monotonic)
        self._pause = pause
        self._begun = _Begun()
        self._unparsed: set[str] = set()

    async def send(self, letter: Letter) -> str | None:
        """Send all messages of a letter and return the id of the last one.

        Errors: those of the port. After a failure the next try begins with the message that failed.
        """
        parts = parts_of(letter)
        if not parts:
            raise PermanentFailure("the message says nothing")
        sent = self._begun.of(letter.dedup_key)
        try:
            for part in parts[len(sent) :]:
                await self._wait(letter, sent)
                sent.append(await self._send(letter, part))
        except PermanentFailure:
            self._begun.forget(letter.dedup_key)
            raise
        self._begun.forget(letter.dedup_key)
        return sent[-1] or None

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def _wait(self, letter: Letter, sent: list[str]) -> None:
        if sent:
            factor = _GROUP_FACTOR if letter.recipient.is_group else 1
            await asyncio.sleep(self._pause.total_seconds() * factor)

    async def _send(self, letter: Letter, part: Part) -> str:
        if part.attachment is None:
            return await self._say(letter, part)
        for method, field in _ways(part.attachment):
            try:
                return await self._call(letter, part, method, "caption", file=(field, part.attachment))
            except RecipientUnreachable:
                raise
            except PermanentFailure as exc:
                _LOGGER.warning("Telegram does not take %s by %s: %s", part.attachment.name, method, exc)
        note = f"[{one_line(part.attachment.name)} could not be attached]"
        return await self._say(letter, Part(f"{part.text}\n\n{note}".strip()))

    async def _say(self, letter: Letter, part: Part) -> str:
        return await self._call(letter, part, "sendMessage", "text", more=_NO_PREVIEW)

    async def _call(
        self,
        letter: Letter,
        part: Part,
        method: str,
        field: str,
        *,
        more: Mapping[str, str] | None = None,
        file: tuple[str, Attachment] | None = None,
    ) -> str:
        """Send formatted, and plain if Telegram cannot read that."""
        chat, fields = letter.recipient.address, dict(more or {})
        uploaded = None if file is None else (file[0], _upload(file[1]))
        if part.formatted is not None:
            said = {field: part.formatted, "parse_mode": "MarkdownV2"}
            try:
                return await self._api.send(method, chat, {**fields, **said}, uploaded)
            except CannotParse as exc:
                self._tell(letter.notification_type, exc)
        return await self._api.send(method, chat, {**fields, field: part.text}, uploaded)

    def _tell(self, notification_type: str, exc: CannotParse) -> None:
        """Log once a type of message: it is their template that is wrong."""
        if notification_type not in self._unparsed and len(self._unparsed) < _MOST_BEGUN:
            self._unparsed.add(notification_type)
            _LOGGER.warning("messages of type %s are sent without marks: %s", notification_type, exc)


class _Begun:
    """The messages that were accepted of letters that are not yet done; of very many the oldest are forgotten."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, list[str]] = OrderedDict()

    def of(self, dedup_key: str) -> list[str]:
        """Return the ids of a letter's messages, to be added to."""
        sent = self._sent.setdefault(dedup_key, [])
        self._sent.move_to_end(dedup_key)
        if len(self._sent) > _MOST_BEGUN:
            self._sent.popitem(last=False)
        return sent

    def forget(self, dedup_key: str) -> None:
        """Forget a letter that is done."""
        self._sent.pop(dedup_key, None)


def _ways(attachment: Attachment) -> list[tuple[str, str]]:
    """Return the methods that may take a file, each with its field's name."""
    size = len(attachment.content)
    ways = [("sendPhoto", "photo")] if attachment.is_image and size <= _LARGEST_PHOTO else []
    return [*ways, ("sendDocument", "document")] if size <= _LARGEST_DOCUMENT else ways


def _upload(attachment: Attachment) -> tuple[str, bytes, str]:
    return (one_line(attachment.name) or "file", attachment.content, one_line(attachment.media_type))
