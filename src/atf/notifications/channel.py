"""What a channel is to the notification service: the port behind which Telegram, e-mail and the others lie.

A channel sends one letter at a time to one recipient and says with its errors whose trouble a failure is: the
letter's, the recipient's or the channel's own. It keeps no queue, repeats nothing and reads no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from atf.errors import PermanentFailure, TemporaryFailure
from atf.notifications.message import Attachment, Priority


class TextForm(StrEnum):
    """What a channel takes beside plain text."""

    PLAIN = "plain"
    MARKDOWN_V2 = "markdown_v2"
    """Telegram's, in which every special character is escaped."""
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a channel reaches a user.

    ``address``: a chat, an e-mail address, a telephone number, a URL; empty where a channel needs none.
    ``secret``: what the address needs beside it, such as the key that signs; no text says it.
    """

    user_id: int
    address: str = ""
    language: str = "en"
    timezone: str = "UTC"
    secret: str | None = field(default=None, repr=False)

    @property
    def is_group(self) -> bool:
        """Whether the address is a group's chat, for which other limits hold; Telegram's have negative ids."""
        return self.address.startswith("-")


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent at once: one delivery, or several merged into a digest.

    ``text`` is plain; ``formatted`` says the same in the channel's form, if that is another. ``dedup_key`` is the
    delivery's, or one made of those that are merged: the same deliveries have the same one. ``payload`` is the
    delivery's, empty for a digest.
    """

    recipient: Recipient
    dedup_key: str
    notification_type: str
    title: str
    text: str
    formatted: str | None = None
    priority: Priority = Priority.NORMAL
    attachments: tuple[Attachment, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """How much a channel takes; None: any number.

    ``concurrency``: letters under way at once, which is also how many may be sent twice after a kill.
    ``longest_text``: characters of a letter up to which several deliveries are merged into one; 0: never merged.
    """

    concurrency: int = 1
    per_second: float | None = None
    per_recipient_second: float | None = None
    per_group_minute: float | None = None
    longest_text: int = 0


class Reach(StrEnum):
    """Whose trouble it is when the other side cannot be reached."""

    SHARED = "shared"
    """One provider stands behind all recipients: an outage pauses the channel and uses up nobody's tries."""
    EACH = "each"
    """Each recipient is a machine of its own: one that is away uses up the tries of its own deliveries."""


UNLIMITED: Final = ChannelLimits()


class Channel(Protocol):
    """A way to reach a person.

    ``is_idempotent``: whether sending a letter twice shows it once. ``disturbs``: whether a letter may ring or
    wake somebody, so that it waits for the end of its user's quiet hours. ``form``: which text it wants beside
    the plain one.
    """

    name: str
    is_idempotent: bool
    disturbs: bool
    reach: Reach
    form: TextForm
    limits: ChannelLimits

    async def send(self, letter: Letter) -> str | None:
        """Send and return the provider's id of the message, if it gives one.

        Errors: ChannelUnavailable, ChannelThrottled, RecipientThrottled, RecipientMoved; any other
                TemporaryFailure is this letter's, to be tried again a few times; PermanentFailure to give up
                (RecipientUnreachable if nothing can reach this address any more). Time-outs are the caller's.
        """
        ...

    async def close(self) -> None:
        """Give back connections; called once, when no send is under way."""
        ...


class ChannelUnavailable(TemporaryFailure):
    """The provider does not answer, or answers that it cannot (no connection, 5xx): an outage of the channel."""


class ChannelThrottled(TemporaryFailure):
    """The provider takes nothing for any recipient until ``retry_after_seconds`` are over."""


class RecipientThrottled(TemporaryFailure):
    """The provider takes nothing for this recipient until ``retry_after_seconds`` are over."""


class RecipientMoved(TemporaryFailure):
    """The recipient is at another address from now on, as when a group at Telegram becomes a supergroup."""

    def __init__(self, message: str, *, address: str) -> None:
        self.address = address
        super().__init__(message)


class RecipientUnreachable(PermanentFailure):
    """This address takes nothing any more: the bot is blocked, the chat or mailbox is gone."""
