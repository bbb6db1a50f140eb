"""What the channels of actions read from a letter, and when it is too late to send one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from atf.clock import Clock
from atf.errors import PermanentFailure
from atf.notifications.channel import Letter


def require_in_time(letter: Letter, clock: Clock | None) -> None:
    """Refuse what became late on its way, as while the service was down, unless it is to be done all the same.

    Without a clock nothing is late: in a replay years of bars pass in minutes.

    Errors: PermanentFailure.
    """
    late_at = _late_at(letter.payload)
    if late_at is not None and clock is not None and clock.now() > late_at:
        raise PermanentFailure(
            "not done: it could not be sent within two bars after its bar had closed, and when_late is skip, "
            "the default"
        )


def _late_at(payload: Mapping[str, Any]) -> datetime | None:
    found = payload.get("late_at")
    try:
        return None if found is None else datetime.fromisoformat(found)
    except (TypeError, ValueError) as exc:
        raise PermanentFailure("not done: its payload was changed by hand and cannot be read") from exc


def part(letter: Letter, name: str, kind: type[Any]) -> Any:
    """Return a field of an action's payload. Errors: PermanentFailure if it is not there or of another type."""
    found = letter.payload.get(name)
    if not isinstance(found, kind):
        raise PermanentFailure(f"not done: this is no action with a {name}")
    return found
