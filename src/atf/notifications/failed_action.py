"""What a user is told of an action that could not be done: a stop that was not sent must not go unnoticed. Pure.

Once an alert and hour: after an outage of the other side hundreds may fail at once, and say the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from atf.notifications.message import ACTION, DeliveryStatus, OutgoingMessage, Priority
from atf.notifications.outbox import Settled

ACTION_FAILED: Final = "alert_action_failed"
_DEFAULT_CHANNELS: Final = ("inbox",)
_LONGEST_REASON: Final = 500


def failure_message(settled: Settled, ended_at: datetime) -> OutgoingMessage | None:
    """Return what its user is told of an action that will not be tried again; None of whatever else has ended."""
    delivery = settled.delivery
    if delivery.notification_type != ACTION or settled.status not in (DeliveryStatus.FAILED, DeliveryStatus.DEAD):
        return None
    alert, hour = delivery.payload.get("alert_id"), ended_at.astimezone(UTC)
    reason = settled.error or "no reason was given"
    tries = "" if delivery.attempts == 0 else f" after {delivery.attempts + 1} tries"
    return OutgoingMessage(
        user_id=delivery.user_id,
        notification_type=ACTION_FAILED,
        title=f"{delivery.title}: not done",
        body=f"{delivery.body} was not done{tries}: {reason[:_LONGEST_REASON]}. "
        f"Look at others of this hour: atf alerts show {alert}",
        dedup_key=f"{ACTION_FAILED}:{delivery.user_id}:{alert}:{hour:%Y-%m-%dT%H}",
        channels=tuple(delivery.payload.get("tell", _DEFAULT_CHANNELS)),
        priority=Priority.HIGH,
        payload={"alert_id": alert},
    )
