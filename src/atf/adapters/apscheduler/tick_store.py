"""APScheduler's store of jobs in the database, which believes only what ATF itself has put there.

APScheduler keeps jobs as pickles, and calls the function that a job names: whoever could write a row of
``apscheduler_jobs`` could let the scheduler's process do anything. Here a pickle may make an instant and nothing
else, and the one job that there is may ring a bell.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

_ALLOWED: Final = frozenset(
    {
        ("apscheduler.triggers.date", "DateTrigger"),
        ("datetime", "datetime"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
    }
)
"""All that the pickle of a tick job is made of, beside texts, numbers and lists of them."""


class TickStore(SQLAlchemyJobStore):  # type: ignore[misc]  # APScheduler has no types
    """Keeps jobs that call one function, ``module:name``. APScheduler deletes what is refused and logs that."""

    def __init__(self, engine: Any, table: str, function: str) -> None:
        super().__init__(engine=engine, tablename=table)
        self._function = function

    def _reconstitute_job(self, job_state: bytes) -> Any:
        """Return a job. Errors: UnpicklingError for one that ATF has not made."""
        state = _JobUnpickler(io.BytesIO(job_state)).load()
        found = state.get("func") if isinstance(state, dict) else None
        if found != self._function:
            raise pickle.UnpicklingError(f"a stored job calls {str(found)[:100]!r}")
        return super()._reconstitute_job(job_state)


class _JobUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a stored job holds {module_name}.{global_name}")
        return super().find_class(module_name, global_name)
