"""Intake: takes messages in from other programs, and answers only when they are stored.

What has gathered while the last commit was under way is stored in one transaction.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from atf.errors import AtfError, InvalidInput, TemporaryFailure, shown
from atf.gathering import Gathering
from atf.notifications.message import ACTION, Attachment, OutgoingMessage, Priority
from atf.notifications.preferences_service import CHANNELS
from atf.security.limits import (
    LARGEST_ATTACHMENTS,
    LONGEST_DEDUP_KEY,
    LONGEST_MESSAGE,
    LONGEST_NAME,
    MOST_ATTACHMENTS,
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a message is stored; not new if its key was stored before."""

    message_id: UUID
    is_new: bool


class MessageReceiver(Protocol):
    """Where messages are stored and found by their keys."""

    async def receive(self, messages: Sequence[OutgoingMessage]) -> Mapping[str, Receipt]:
        """Store messages; return a receipt by dedup key, also of those that were there.

        Errors: NotFound if a user is not known; nothing is stored then.
        """
        ...


@dataclass(frozen=True, slots=True)
class NewNotification:
    """What a program asks to be told somebody, checked by ``message_of``."""

    user_id: int
    message: str
    priority: str = Priority.NORMAL
    notification_type: str = "alert"
    title: str | None = None
    channels: tuple[str, ...] = ()
    dedup_key: str | None = None
    scheduled_for: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


class Intake:
    """Stores messages, many in one transaction."""

    def __init__(self, receiver: MessageReceiver) -> None:
        self._receiver = receiver
        self._gathering = Gathering(self._store)

    async def take(self, new: NewNotification) -> Receipt:
        """Store a message and return when that is committed; one of a known key is the one that is stored.

        Errors: InvalidInput that names the field; NotFound if there is no such user; DatabaseUnavailable.
        """
        return await self._gathering.ask(message_of(new))

    async def _store(self, messages: Sequence[OutgoingMessage]) -> Sequence[Receipt | Exception]:
        """Store all, or else one half and the other, so that one is not another's misfortune."""
        by_key: dict[str, OutgoingMessage] = {}
        is_first = [by_key.setdefault(message.dedup_key, message) is message for message in messages]
        try:
            receipts = await self._receiver.receive(list(by_key.values()))
        except (TemporaryFailure, OSError):
            raise
        except AtfError as exc:
            if len(messages) == 1:
                return [exc]
            half = len(messages) // 2
            return [*await self._store(messages[:half]), *await self._store(messages[half:])]
        found = [receipts[message.dedup_key] for message in messages]
        return [one if first else replace(one, is_new=False) for one, first in zip(found, is_first, strict=True)]


def message_of(new: NewNotification) -> OutgoingMessage:
    """Return the message to be stored. Errors: InvalidInput that names the field.

    A key is its user's own: that of another user, or of ATF itself, is another one.
    """
    if not 0 < new.user_id <= _LAST_USER:
        raise InvalidInput("must be the number of a user", field="user_id")
    _require_text(new.message, "message", LONGEST_MESSAGE)
    if new.title is not None:
        _require_text(new.title, "title", LONGEST_NAME)
    if new.priority not in tuple(Priority):
        raise InvalidInput(f"must be of {', '.join(Priority)}, got {shown(new.priority)}", field="priority")
    for channel in new.channels:
        if channel not in CHANNELS:
            raise InvalidInput(f"must be of {', '.join(CHANNELS)}, got {shown(channel)}", field="channels")
    if new.dedup_key is not None:
        _require_text(new.dedup_key, "dedup_key", LONGEST_DEDUP_KEY)
    _require_type(new.notification_type)
    _require_attachments(new.attachments)
    return OutgoingMessage(
        user_id=new.user_id,
        notification_type=new.notification_type,
        title=new.title or _DEFAULT_TITLES.get(new.notification_type, "Message"),
        body=new.message,
        dedup_key=f"api:{new.user_id}:{new.dedup_key or uuid.uuid4()}",
        channels=new.channels or None,
        priority=Priority(new.priority),
        scheduled_for=None if new.scheduled_for is None else _utc(new.scheduled_for),
        attachments=new.attachments,
    )


_DEFAULT_TITLES: Final = {"alert": "Alert", "report": "Report", "screener": "Screener"}
_LAST_USER: Final = 2**31 - 1
_LONGEST_TYPE: Final = 64
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}(; ?[\w.+-]{1,60}=[\w.+-]{1,60}){0,4}", re.ASCII)


def _require_text(text: str, field: str, longest: int) -> None:
    if not text.strip():
        raise InvalidInput("is empty", field=field)
    if len(text) > longest:
        raise InvalidInput(f"has {len(text)} characters; at most {longest}", field=field)
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput("has characters that are no text", field=field)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise InvalidInput("must have an offset, such as 2026-01-05T09:00:00Z", field="scheduled_for")
    try:
        return instant.astimezone(UTC)
    except OverflowError as exc:
        raise InvalidInput("is beyond all calendars", field="scheduled_for") from exc


def _require_type(name: str) -> None:
    is_word = name.isascii() and name.replace("_", "").isalnum() and name.islower() and name[0].isalpha()
    if not is_word or len(name) > _LONGEST_TYPE or name == ACTION:
        raise InvalidInput(
            f"must be a word of small letters, digits and underscores such as report, got {shown(name)}",
            field="notification_type",
        )


def _require_attachments(attachments: Sequence[Attachment]) -> None:
    if len(attachments) > MOST_ATTACHMENTS:
        raise InvalidInput(f"are {len(attachments)}; at most {MOST_ATTACHMENTS}", field="attachments")
    total = sum(len(one.content) for one in attachments)
    if total > LARGEST_ATTACHMENTS:
        raise InvalidInput(f"have {total} bytes together; at most {LARGEST_ATTACHMENTS}", field="attachments")
    for one in attachments:
        _require_text(one.name, "attachments.name", LONGEST_NAME)
        if "/" in one.name or "\\" in one.name or not one.name.isprintable() or not one.name.strip("."):
            raise InvalidInput(f"must be a plain file name, got {shown(one.name)}", field="attachments.name")
        if not _MEDIA_TYPE.fullmatch(one.media_type):
            raise InvalidInput(
                f"must be such as image/png, got {shown(one.media_type)}", field="attachments.media_type"
            )
