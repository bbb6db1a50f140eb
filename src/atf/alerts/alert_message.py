"""The words of a trigger: the message that goes into the outbox, and its key. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite

from atf.alerts.alert import Alert
from atf.alerts.evaluation import Trigger
from atf.notifications.message import OutgoingMessage


def trigger_key(schedule_id: int, rule_hash: str, bar_time: datetime) -> str:
    """Return the key that makes a trigger happen once: alert, rule and bar."""
    return f"{schedule_id}:{rule_hash[:16]}:{int(bar_time.timestamp())}"


def compose(schedule_id: int, user_id: int, name: str, alert: Alert, trigger: Trigger) -> OutgoingMessage:
    """Return the message of one trigger for the alert's channels."""
    body = alert.message_template.format_map(_placeholders(alert, trigger))
    return OutgoingMessage(
        user_id=user_id,
        notification_type="alert",
        title=f"Alert {name}",
        body=body,
        dedup_key=trigger_key(schedule_id, alert.rule_hash, trigger.bar_time),
        channels=alert.channels,
        payload={
            "alert_id": schedule_id,
            "ticker": alert.series.symbol,
            "timeframe": str(alert.series.timeframe),
            "bar_time": _utc(trigger.bar_time),
            "readings": storable(trigger.readings),
            "trigger_number": trigger.number,
            "late": trigger.is_late,
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
