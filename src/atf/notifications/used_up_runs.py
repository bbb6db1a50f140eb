"""What a user is told whose runs of a day are used up: schedules that rest must not go unnoticed. Pure.

Once a day, however many schedules rest.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from atf.notifications.message import OutgoingMessage, Priority

RUNS_USED_UP: Final = "runs_used_up"


def used_up_message(user_id: int, day: date, limit: int) -> OutgoingMessage:
    """Return what a user is told whose schedules rest from now on to the end of a day of UTC."""
    return OutgoingMessage(
        user_id=user_id,
        notification_type=RUNS_USED_UP,
        title="Your runs of today are used up",
        body=f"You may have {limit} runs a day and have had as many. Your schedules and alerts rest until 00:00 "
        "UTC, and what they miss is not made up for. An administrator can raise it: atf users limits",
        dedup_key=f"{RUNS_USED_UP}:{user_id}:{day.isoformat()}",
        channels=("inbox",),
        priority=Priority.HIGH,
    )
