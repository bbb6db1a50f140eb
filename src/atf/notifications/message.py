"""A message, its deliveries, and their states.

::

    PENDING ──claim──▶ SENDING ──▶ SENT
       ▲                  ├──temporary failure, outage, rescue──▶ PENDING
       └──────────────────┘──▶ FAILED (refused for good) | DEAD (tries used up)

A try counts when it has ended: neither a claim, nor a kill, nor an outage of the channel costs one. What quiet
hours or a digest hold stays PENDING.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

ACTION: Final = "alert_action"
"""The ``notification_type`` of what an alert makes happen; it is sent like a message, and is none to a person."""


CODE: Final = "code"
"""The ``notification_type`` of a code for an address that is not proved yet.

It goes to ``payload["to"]``, and its words are forgotten as soon as they are sent.
"""


TEST: Final = "test"
"""The ``notification_type`` of a message to try a channel with."""


class DeliveryStatus(StrEnum):
    """Where one channel's copy of a message is."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    SENT = "SENT"
    FAILED = "FAILED"
    DEAD = "DEAD"


class Priority(StrEnum):
    """How urgent a message is."""

    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"

    @property
    def urgency(self) -> int:
        """Its place in the order: 0 goes first."""
        return _URGENCIES[self]


_URGENCIES: Final = {Priority.URGENT: 0, Priority.HIGH: 1, Priority.NORMAL: 2}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message: its name, such as ``chart.png``, its media type, its bytes."""

    name: str
    media_type: str
    content: bytes = field(repr=False)

    @property
    def is_image(self) -> bool:
        """Whether it is shown rather than offered."""
        return self.media_type.startswith("image/")


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to be stored: ``dedup_key`` makes storing it twice the same as storing it once.

    ``channels``: those it asks for; None leaves it to what its user wishes, none at all is delivered nowhere.
    ``refusal`` is why it must not be sent: its deliveries are stored as FAILED, with that as their error.
    ``scheduled_for``: not before then.
    """

    user_id: int
    notification_type: str
    title: str
    body: str
    dedup_key: str
    channels: tuple[str, ...] | None
    priority: Priority = Priority.NORMAL
    payload: Mapping[str, Any] = field(default_factory=dict)
    refusal: str | None = None
    scheduled_for: datetime | None = None
    attachments: tuple[Attachment, ...] = ()

    @property
    def lane(self) -> str:
        """What its deliveries are in line with: other messages of the user, or actions at the same address."""
        place = self.payload.get(_PLACES.get(self.notification_type, ""))
        return "" if place is None else sha256(str(place).encode()).hexdigest()[:16]

    def delivery_key(self, channel: str) -> str:
        """Return the key under which one channel delivers this message."""
        return f"{self.dedup_key}:{channel}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery: all that there is to be sent but the files, which are read when it goes.

    ``attempts``: tries that have ended before. ``lane``: beside user and priority, what it is in line with.
    """

    id: int
    message_id: int
    user_id: int
    channel: str
    attempts: int
    dedup_key: str
    notification_type: str
    title: str
    body: str
    payload: Mapping[str, Any]
    created_at: datetime
    priority: Priority = Priority.NORMAL
    lane: str = ""
    has_attachments: bool = False


_PLACES: Final = {ACTION: "url", CODE: "to"}


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery as stored, for people and programs to look at."""

    id: int
    message_id: UUID
    user_id: int
    notification_type: str
    priority: Priority
    title: str
    body: str
    channel: str
    status: DeliveryStatus
    attempts: int
    dedup_key: str
    error: str | None
    created_at: datetime
    sent_at: datetime | None
    scheduled_for: datetime | None = None
    held_until: datetime | None = None
    """When the quiet hours that hold it back end, or the digest goes that it is for."""
