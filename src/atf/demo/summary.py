"""What a replay came to, and whether every stage was really passed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from atf.bootstrap.demo import ReplayCounts
from atf.demo.demo_alerts import CHANNELS


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a demo, as ``--json`` prints it; ``failures`` is empty if it passed."""

    passed: bool
    failures: list[str]
    sessions: int
    first_session: datetime
    last_session: datetime
    bars: int
    runs: Mapping[str, int]
    triggers: int
    messages: int
    channels: list[str]
    deliveries: int
    deliveries_by_status: Mapping[str, int]
    inbox: int
    bots: int
    fills: int
    trades: int
    earned: float
    seconds: float


def summarise(counts: ReplayCounts, *, sessions: int, alerts: int, seconds: float) -> Summary:
    """Return the summary of a replay that should have passed ``sessions`` sessions with ``alerts`` alerts."""
    failures = _failures(counts, sessions, alerts)
    return Summary(
        passed=not failures,
        failures=failures,
        sessions=counts.step,
        first_session=counts.begins_at,
        last_session=counts.session.replace(hour=0, minute=0, second=0, microsecond=0),
        bars=counts.bars,
        runs=counts.runs,
        triggers=counts.triggers,
        messages=counts.messages,
        channels=list(counts.channels),
        deliveries=sum(counts.deliveries.values()),
        deliveries_by_status=counts.deliveries,
        inbox=counts.inbox,
        bots=counts.bots,
        fills=counts.fills,
        trades=counts.trades,
        earned=round(float(counts.earned), 2),
        seconds=round(seconds, 1),
    )


def _failures(counts: ReplayCounts, sessions: int, alerts: int) -> list[str]:
    expected_deliveries = counts.triggers * len(CHANNELS)
    checks = {
        f"the market stopped after {counts.step} of {sessions} sessions": counts.step == sessions,
        "no bar was replayed": counts.bars > 0,
        f"{counts.runs.get('COMPLETED', 0)} runs of {sessions * alerts} are COMPLETED": (
            counts.runs.get("COMPLETED", 0) == sessions * alerts
        ),
        f"some runs are not COMPLETED: {dict(counts.runs)}": set(counts.runs) == {"COMPLETED"},
        "no alert triggered": counts.triggers > 0,
        f"{counts.triggers} triggers made {counts.messages} messages": counts.messages == counts.triggers,
        f"{counts.deliveries.get('SENT', 0)} deliveries of {expected_deliveries} are SENT": (
            counts.deliveries.get("SENT", 0) == expected_deliveries
        ),
        f"{counts.inbox} of {counts.messages} messages are in the inbox": counts.inbox == counts.messages,
        f"the books of {counts.balanced} of {counts.bots} bots are balanced": counts.balanced == counts.bots,
    }
    return [failure for failure, holds in checks.items() if not holds]
