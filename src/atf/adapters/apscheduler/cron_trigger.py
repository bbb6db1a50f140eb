"""An APScheduler trigger that follows ATF's cron rules.

APScheduler's own ``CronTrigger.from_crontab`` is not used: it counts weekdays from Monday, so that ``1-5``
means Tuesday to Saturday, it has no seconds, and it fires at times that a daylight-saving jump leaves out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from apscheduler.triggers.base import BaseTrigger

from atf.schedules.cron_parser import CronParser

_STATE_VERSION: Final = 1


class CronExpressionTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires whenever a cron expression of five or six fields matches in its zone.

    Errors: InvalidCron if the expression or the zone is not valid.
    """

    __slots__ = ("expression", "timezone")

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        CronParser.parse(expression, timezone)
        self.expression = expression
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first run strictly after the previous one, or after now if there was none."""
        after = now if previous_fire_time is None else previous_fire_time
        return CronParser.calculate_next_run(self.expression, self.timezone, after=after)

    def __getstate__(self) -> dict[str, object]:
        return {"version": _STATE_VERSION, "expression": self.expression, "timezone": self.timezone}

    def __setstate__(self, state: dict[str, object]) -> None:
        if state["version"] != _STATE_VERSION:
            raise ValueError(f"a cron trigger of version {state['version']} was stored by another release")
        self.expression = str(state["expression"])
        self.timezone = str(state["timezone"])

    def __repr__(self) -> str:
        return f"CronExpressionTrigger({self.expression!r}, {self.timezone!r})"
