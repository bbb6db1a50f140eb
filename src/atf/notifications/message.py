"""A message, its deliveries, and their states.

::

    PENDING ──claim──▶ SENDING ──▶ SENT
       ▲                  ├──temporary failure, rescue──▶ PENDING
       └──────────────────┘──▶ FAILED (refused for good) | DEAD (tries used up)

What quiet hours hold stays PENDING, and the claim that finds it costs no attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

ACTION: Final = "alert_action"
"""The ``notification_type`` of what an alert makes happen; it is sent like a message, and is none to a person."""


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

    ``refusal`` is why it must not be sent: its deliveries are stored as FAILED, with that as their error.
    """

    user_id: int
    notification_type: str
    title: str
    body: str
    dedup_key: str
    channels: tuple[str, ...]
    priority: Priority = Priority.NORMAL
    payload: Mapping[str, Any] = field(default_factory=dict)
    refusal: str | None = None

    def delivery_key(self, channel: str) -> str:
        """Return the key under which one channel delivers this message."""
        return f"{self.dedup_key}:{channel}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery: all that a channel needs to send it."""

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


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery as stored, for people and programs to look at."""

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
    held_until: datetime | None = None
    """When the quiet hours that hold it back end."""
