"""What a process says of itself when it is asked: components, one word for all of them, and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atf.clock import Clock
from atf.errors import AtfError
from atf.health.checks import CheckResult, progress_check
from atf.health.recent import Recent
from atf.health.statistics import DatabaseProbe, HealthStore, Statistics
from atf.health.status import Component, HealthStatus, OverallHealth, overall
from atf.jobs.run_metrics import RunMetrics
from atf.lifecycle import Progress
from atf.notifications.sending_metrics import SendingMetrics

_PATIENCE_SECONDS: Final = 1.5
_PROBE_KEPT_SECONDS: Final = 0.5
_STATISTICS_KEPT_SECONDS: Final = 5.0
_WORKING: Final = frozenset({"running", "standby", "failing"})
_MEANING: Final[Mapping[str, HealthStatus]] = {
    "starting": HealthStatus.DEGRADED,
    "running": HealthStatus.HEALTHY,
    "standby": HealthStatus.HEALTHY,
    "failing": HealthStatus.DEGRADED,
    "stopped": HealthStatus.DOWN,
}


@dataclass(frozen=True, slots=True)
class HealthReport:
    """One answer; ``statistics`` is None for a process that does not count, or cannot now.

    ``runs`` is what a worker counts of its own, ``sending`` what the notification service does.
    """

    service: str
    instance_id: str
    version: str
    status: OverallHealth
    reported_at: datetime
    components: tuple[Component, ...]
    statistics: Statistics | None
    progress_age_seconds: float
    problem: str | None = None
    runs: RunMetrics | None = None
    sending: SendingMetrics | None = None

    @property
    def is_database_connected(self) -> bool:
        """Whether the database answered in time."""
        return any(part.name == "database" and part.status is HealthStatus.HEALTHY for part in self.components)


@dataclass(frozen=True, slots=True)
class Watched:
    """The process's main service as health sees it: its state in a word, and whether its loop comes round.

    ``parts``: what of it may be out of order by itself, such as a channel.
    """

    service: str
    instance_id: str
    version: str
    word: Callable[[], str]
    is_started: Callable[[], bool]
    progress: Progress
    stalled_after_seconds: float
    parts: Callable[[], Sequence[Component]] = tuple

    def component(self) -> Component:
        """Return the state; a loop that has not come round for too long is stalled, whatever it says itself."""
        word = self.word()
        if word in _WORKING and self.progress.seconds_since > self.stalled_after_seconds:
            return Component(self.service, "stalled", HealthStatus.DOWN)
        return Component(self.service, word, _MEANING.get(word, HealthStatus.UNKNOWN))

    def check(self) -> CheckResult:
        """The same as a health check for a heartbeat."""
        component = self.component()
        state = {"state": component.word}
        if component.word not in _WORKING and component.status is not HealthStatus.DOWN:
            return {"status": component.status, "metadata": state}
        advances = progress_check(self.progress, self.stalled_after_seconds)()
        parts = self.parts()
        words = {part.name: part.word for part in parts}
        return {
            **advances,
            "status": _together(component.status, parts),
            "metadata": {**advances["metadata"], **state, **words},
        }


class ServiceHealth:
    """Answers within two seconds, whatever the database does."""

    def __init__(
        self,
        watched: Watched,
        store: HealthStore,
        clock: Clock,
        *,
        counts: bool = False,
        runs: RunMetrics | None = None,
        sending: SendingMetrics | None = None,
    ) -> None:
        """``counts``: whether this process answers for the queue as a whole, as the scheduler does."""
        self._watched = watched
        self._clock = clock
        self.counts = counts
        self._runs = runs
        self._sending = sending
        self._probe = Recent(store.probe, keep_seconds=_PROBE_KEPT_SECONDS, patience_seconds=_PATIENCE_SECONDS)
        self._statistics = Recent(
            store.statistics, keep_seconds=_STATISTICS_KEPT_SECONDS, patience_seconds=_PATIENCE_SECONDS
        )

    async def report(self) -> HealthReport:
        """Look at everything."""
        probe, problem = await self._look()
        statistics: Statistics | None = None
        if self.counts and probe is not None:
            try:
                statistics = await self._statistics.get()
            except AtfError as exc:
                problem = str(exc)
        components = (self._watched.component(), *self._watched.parts(), *self._database_components(probe))
        return HealthReport(
            service=self._watched.service,
            instance_id=self._watched.instance_id,
            version=self._watched.version,
            status=overall(components),
            reported_at=self._clock.now(),
            components=components,
            statistics=statistics,
            progress_age_seconds=self._watched.progress.seconds_since,
            problem=problem,
            runs=self._runs,
            sending=self._sending,
        )

    async def statistics(self) -> Statistics:
        """Return the numbers. Errors: DatabaseUnavailable."""
        return await self._statistics.get()

    async def is_ready(self) -> bool:
        """Whether the service has started and the database answers."""
        probe, _ = await self._look()
        is_working = self._watched.is_started() and self._watched.component().status is not HealthStatus.DOWN
        return probe is not None and is_working

    async def close(self) -> None:
        """End what is under way."""
        await self._probe.close()
        await self._statistics.close()

    async def _look(self) -> tuple[DatabaseProbe | None, str | None]:
        try:
            return await self._probe.get(), None
        except AtfError as exc:
            return None, str(exc)

    def _database_components(self, probe: DatabaseProbe | None) -> tuple[Component, ...]:
        database = (
            Component("database", "disconnected", HealthStatus.DOWN)
            if probe is None
            else Component("database", "connected", HealthStatus.HEALTHY)
        )
        return (database, _job_store(probe), _alert_evaluator(probe)) if self.counts else (database,)


def _together(status: HealthStatus, parts: Sequence[Component]) -> HealthStatus:
    """Return the status of a service with its parts: one that is out of order does not stop the others."""
    is_well = status is not HealthStatus.HEALTHY or all(one.status is HealthStatus.HEALTHY for one in parts)
    return status if is_well else HealthStatus.DEGRADED


def _job_store(probe: DatabaseProbe | None) -> Component:
    if probe is None:
        return Component("job_store", "unknown", HealthStatus.UNKNOWN)
    if probe.is_job_store_readable:
        return Component("job_store", "operational", HealthStatus.HEALTHY)
    return Component("job_store", "unavailable", HealthStatus.DOWN)


def _alert_evaluator(probe: DatabaseProbe | None) -> Component:
    if probe is None:
        return Component("alert_evaluator", "unknown", HealthStatus.UNKNOWN)
    if probe.has_alert_worker:
        return Component("alert_evaluator", "ready", HealthStatus.HEALTHY)
    return Component("alert_evaluator", "no worker", HealthStatus.DEGRADED)
