"""What the log tells of runs that are written down."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from atf.jobs.queue import Outcome
from atf.jobs.run import ClaimedRun, Completion

_LOGGER = logging.getLogger(__name__)
_MOST_LINES: Final = 20
"""Of more completions at once there is one line: at ten thousand a second nobody could read theirs."""


def log_written(outcomes: Sequence[Outcome], held: frozenset[int]) -> None:
    """Log what became of runs; failures were logged with their traceback when they happened."""
    completed = [one for one in outcomes if isinstance(one, Completion) and one.run.key.id in held]
    if len(completed) > _MOST_LINES:
        _LOGGER.info("%d jobs executed successfully", len(completed))
    else:
        for one in completed:
            _LOGGER.info(
                "Job %s executed successfully in %.1fs", one.run.name, one.seconds, extra=ids_of(one.run)
            )
    for outcome in outcomes:
        run = outcome.run
        if run.key.id not in held:
            told = "%s was taken away meanwhile: what attempt %d did is void"
            _LOGGER.warning(told, run.name, run.attempt, extra=ids_of(run))


def ids_of(run: ClaimedRun) -> Mapping[str, Any]:
    """Return what a log line carries beside its words."""
    return {"job_id": run.job_id, "user_id": run.user_id, "run_id": str(run.run_id), "attempt": run.attempt}
