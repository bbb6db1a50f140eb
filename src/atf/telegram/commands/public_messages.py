"""What administrators have people told: that they are let in, and what everybody is to know."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Final

from atf.notifications.message import OutgoingMessage, Priority
from atf.notifications.preferences import INBOX
from atf.notifications.texts import ENGLISH
from atf.telegram.house import Reader
from atf.telegram.registration import REGISTRATION
from atf.telegram.texts import bot_texts

BROADCAST: Final = "broadcast"
ANNOUNCEMENT: Final = "announcement"


def approval(user_id: int, language: str | None) -> OutgoingMessage:
    """Return what somebody is told who was let in; it goes where the person has linked an account."""
    texts = bot_texts(language or ENGLISH)
    return OutgoingMessage(
        user_id=user_id,
        notification_type=REGISTRATION,
        title=texts("admin-let-in-title"),
        body=texts("admin-let-in-body"),
        dedup_key=f"{REGISTRATION}:let-in:{user_id}:{uuid.uuid4()}",
        channels=None,
        priority=Priority.HIGH,
    )


def broadcast(readers: Sequence[Reader], words: str) -> Sequence[OutgoingMessage]:
    """Return a message to everybody, before what is not urgent and by the channels that each of them wants."""
    return _messages(BROADCAST, readers, words, Priority.HIGH, lambda _: None)


def announcement(readers: Sequence[Reader], words: str) -> Sequence[OutgoingMessage]:
    """Return a message to everybody that disturbs nobody: in the inbox, and in digests where there are any."""
    return _messages(
        ANNOUNCEMENT, readers, words, Priority.NORMAL, lambda reader: None if reader.has_digest else (INBOX,)
    )


def _messages(
    kind: str,
    readers: Sequence[Reader],
    words: str,
    priority: Priority,
    channels_of: Callable[[Reader], tuple[str, ...] | None],
) -> Sequence[OutgoingMessage]:
    key = uuid.uuid4()
    return [
        OutgoingMessage(
            user_id=reader.user_id,
            notification_type=kind,
            title=bot_texts(reader.language)("admin-message-title"),
            body=words,
            dedup_key=f"{kind}:{key}:{reader.user_id}",
            channels=channels_of(reader),
            priority=priority,
        )
        for reader in readers
    ]
