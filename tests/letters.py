"""Deliveries to be written, and folders of templates to write them by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atf.notifications.channel import Recipient
from atf.notifications.message import Delivery, Priority

NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
OWNER = Recipient(user_id=1, address="5", language="en", timezone="Europe/Berlin")
BERLINER = Recipient(user_id=2, address="6", language="de", timezone="Europe/Berlin")
BAR = {"ticker": "AAPL", "timeframe": "1h", "bar_time": "2027-03-01T10:00:00Z", "late": False, "live": False}


def delivery(
    body: str = "above 150",
    *,
    title: str = "Alert breakout",
    kind: str = "alert",
    payload: dict[str, Any] | None = None,
    created_at: datetime = NOON,
    priority: Priority = Priority.NORMAL,
) -> Delivery:
    return Delivery(
        id=1,
        message_id=1,
        user_id=1,
        channel="telegram",
        attempts=1,
        dedup_key="k:1:telegram",
        notification_type=kind,
        title=title,
        body=body,
        payload=BAR if payload is None else payload,
        created_at=created_at,
        priority=priority,
    )


def put(folder: Path, name: str, source: str) -> Path:
    """Put a template ``type/way`` into a folder, and return where it lies."""
    path = folder / f"{name}.j2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, "utf-8")
    return path
