"""What the log tells of committed alerts."""

from __future__ import annotations

import logging
from typing import Final

from atf.alerts.outcome import Outcomes
from atf.alerts.state import AlertState

_LOGGER = logging.getLogger(__name__)
_MOST_LINES: Final = 20
"""A batch of more alerts gets one line: at a hundred thousand a minute nobody could read theirs."""


def log_committed(outcomes: Outcomes, seconds: float) -> None:
    """Log each trigger, and each alert or, in a big batch, their number."""
    _log_triggers(outcomes, seconds)
    if len(outcomes) > _MOST_LINES:
        _LOGGER.info("%d alert jobs executed successfully in %.1fs", len(outcomes), seconds)
    level = logging.DEBUG if len(outcomes) > _MOST_LINES else logging.INFO
    if not _LOGGER.isEnabledFor(level):
        return
    for row, loaded in enumerate(outcomes.loaded):
        number = loaded.stored.schedule_id
        ids = {"job_id": number, "run_id": str(outcomes.newest_run(row).run_id)}
        _LOGGER.log(level, "Job alert_%d executed successfully in %.1fs", number, seconds, extra=ids)
        state = outcomes.evaluated.states.state(row, AlertState(loaded.alert.rule_hash), {})
        _LOGGER.debug("Alert state updated: %s", _shown(state), extra=ids)


def _log_triggers(outcomes: Outcomes, seconds: float) -> None:
    for row, trigger in outcomes.triggers():
        stored, alert = outcomes.loaded[row].stored, outcomes.loaded[row].alert
        _LOGGER.info(
            "Alert triggered",
            extra={
                "job_id": stored.schedule_id,
                "user_id": stored.user_id,
                "run_id": str(outcomes.newest_run(row).run_id),
                "ticker": alert.series.symbol,
                "timeframe": str(alert.series.timeframe),
                "bar_time": trigger.bar_time.isoformat(),
                "current_value": trigger.value,
                "threshold": trigger.threshold,
                "execution_time": round(seconds, 3),
            },
        )


def _shown(state: AlertState) -> dict[str, object]:
    return {
        "status": str(state.status),
        "gate": str(state.gate),
        "count": state.count,
        "trigger_count": state.trigger_count,
        "last_bar": None if state.last_bar is None else state.last_bar.isoformat(),
        "data_status": str(state.data_status),
    }
