"""What a trigger's actions are in the outbox: one message each, with a key that makes it happen once. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from atf.alerts.action import TRIGGER_FIELD, Action
from atf.alerts.alert import Alert
from atf.alerts.alert_message import trigger_key, trigger_payload
from atf.alerts.trigger import Trigger
from atf.notifications.message import ACTION, OutgoingMessage

_SKIPPED: Final = (
    "not done: it was decided more than two bars after its bar had closed, and when_late is skip, the default"
)


def action_messages(
    schedule_id: int, user_id: int, name: str, alert: Alert, trigger: Trigger, refusal: str | None
) -> list[OutgoingMessage]:
    """Return one message for each action of an alert; a refused or late one is recorded and never sent."""
    key = trigger_key(schedule_id, alert.rule_hash, trigger.bar_time)
    told = trigger_payload(schedule_id, alert, trigger)
    return [
        OutgoingMessage(
            user_id=user_id,
            notification_type=ACTION,
            title=f"Action {number} of alert {name}",
            body=action.words,
            dedup_key=f"{key}:{number}",
            channels=(str(action.type),),
            payload={
                "alert_id": schedule_id,
                **action.target,
                "tell": list(alert.notify.channels),
                "late_at": None if action.runs_late else trigger.late_at.astimezone(UTC).isoformat(),
                "body": {**action.payload, TRIGGER_FIELD: told},
            },
            refusal=refusal or _lateness(action, trigger),
        )
        for number, action in enumerate(alert.actions, start=1)
    ]


def _lateness(action: Action, trigger: Trigger) -> str | None:
    return _SKIPPED if trigger.is_late and not action.runs_late else None
