"""The words of a trigger: the message that goes into the outbox, and its key. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from atf.alerts.alert import Alert
from atf.alerts.trigger import Trigger
from atf.notifications.message import OutgoingMessage, Priority


def trigger_key(schedule_id: int, rule_hash: str, bar_time: datetime) -> str:
    """Return the key that makes a trigger happen once: alert, rule and bar."""
    return f"{schedule_id}:{rule_hash[:16]}:{int(bar_time.timestamp())}"


def compose(schedule_id: int, user_id: int, name: str, alert: Alert, trigger: Trigger) -> OutgoingMessage:
    """Return the message of one trigger for the alert's channels."""
    body = alert.notify.message_template.format_map(_placeholders(alert, trigger))
    return OutgoingMessage(
        user_id=user_id,
        notification_type="alert",
        title=f"Alert {name}" if trigger.live_at is None else f"Alert {name}, on a bar that is still forming",
        body=body,
        priority=Priority(alert.notify.severity),
        dedup_key=trigger_key(schedule_id, alert.rule_hash, trigger.bar_time),
        channels=alert.notify.channels,
        payload=trigger_payload(schedule_id, alert, trigger),
    )


def trigger_payload(schedule_id: int, alert: Alert, trigger: Trigger) -> dict[str, Any]:
    """Return what programs are told of a trigger."""
    return {
        "alert_id": schedule_id,
        "ticker": alert.series.symbol,
        "timeframe": str(alert.series.timeframe),
        "bar_time": _utc(trigger.bar_time),
        "readings": storable(trigger.readings),
        "trigger_number": trigger.number,
        "late": trigger.is_late,
        "live": trigger.live_at is not None,
    }


def messages_of(
    schedule_id: int, user_id: int, name: str, alert: Alert, triggers: Sequence[Trigger]
) -> list[OutgoingMessage]:
    """Return one message for each trigger of an alert in one run.

    Many at once, as after an outage, are delivered as one digest: each has its own message and key, but only the
    newest goes to the channels.
    """
    messages = [compose(schedule_id, user_id, name, alert, trigger) for trigger in triggers]
    if len(messages) < 2 or not alert.rearm.type.keeps_gate_open:
        return messages
    *earlier, newest = messages
    first, last = triggers[0], triggers[-1]
    head = f"{len(triggers)} triggers on bars from {_utc(first.bar_time)} to {_utc(last.bar_time)}; the newest:"
    digest = replace(
        newest,
        title=f"{newest.title}: {len(triggers)} triggers",
        body=f"{head}\n{newest.body}",
        payload={**newest.payload, "digest_of": [one.dedup_key for one in messages]},
    )
    return [*(replace(one, channels=()) for one in earlier), digest]


def rearmed_message(
    schedule_id: int, user_id: int, name: str, alert: Alert, bar_time: datetime
) -> OutgoingMessage:
    """Return the message that an alert has become ready again on a bar, after it had triggered."""
    return OutgoingMessage(
        user_id=user_id,
        notification_type="alert_rearmed",
        title=f"Alert {name} is ready again",
        body=f"{alert.series}: what triggered it is over, on the bar of {_utc(bar_time)}.",
        priority=Priority(alert.notify.severity),
        dedup_key=f"{trigger_key(schedule_id, alert.rule_hash, bar_time)}:rearmed",
        channels=alert.notify.channels,
        payload={
            "alert_id": schedule_id,
            "ticker": alert.series.symbol,
            "timeframe": str(alert.series.timeframe),
            "bar_time": _utc(bar_time),
        },
    )


def storable(readings: Mapping[str, float]) -> dict[str, float | None]:
    """Return readings as JSON can hold them: NaN and infinity become null."""
    return {name: value if isfinite(value) else None for name, value in readings.items()}


def _placeholders(alert: Alert, trigger: Trigger) -> dict[str, str]:
    return {
        "ticker": alert.series.symbol,
        "timeframe": str(alert.series.timeframe),
        "time": _utc(trigger.bar_time),
        **{name: f"{value:.10g}" for name, value in trigger.bar.items()},
        "value": f"{trigger.value:.10g}",
        "threshold": f"{trigger.threshold:.10g}",
        "trigger_count": str(trigger.number),
    }


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
