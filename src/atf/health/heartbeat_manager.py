"""HeartbeatManager: asks a health check at an interval and stores what it says, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from atf.errors import AtfError
from atf.health.checks import CheckOutcome, HealthCheck, read_result, run_check
from atf.health.status import HealthStatus
from atf.lifecycle import Service

_LOGGER = logging.getLogger(__name__)
_LONGEST_CHECK_SECONDS: Final = 10.0
_UNWELL_SECONDS: Final = 5.0
"""A system that is not healthy is asked this often, so that its recovery is not told a minute late."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One report of a system; ``component`` tells its processes apart."""

    system: str
    component: str
    interval_seconds: float
    outcome: CheckOutcome


class HeartbeatStore(Protocol):
    """Where the last heartbeat of every component is kept."""

    async def save(self, heartbeat: Heartbeat) -> None:
        """Replace the component's row."""
        ...


class HeartbeatManager(Service):
    """Reports a system's health at once and then at every interval.

    A check that hangs or raises is a report as well: DOWN. A store that is away is asked again next time.
    """

    def __init__(
        self,
        system: str,
        interval_seconds: float = 60,
        *,
        store: HeartbeatStore,
        component: str = "",
        check_timeout_seconds: float | None = None,
    ) -> None:
        super().__init__(f"heartbeat of {system}")
        self.system = system
        self.interval_seconds = interval_seconds
        self._store = store
        self._component = component
        self._timeout = check_timeout_seconds or min(interval_seconds, _LONGEST_CHECK_SECONDS)
        self._check: HealthCheck = _lives
        self._pending: asyncio.Task[object] | None = None
        self._starting: asyncio.Task[None] | None = None

    def set_health_check_function(self, check: HealthCheck) -> None:
        """Name the function that says how the system is; until then it is healthy as long as it lives.

        It returns ``status`` and, if wanted, ``response_time_ms``, ``error_message`` and ``metadata``.
        """
        self._check = check

    def start_heartbeat(self) -> None:
        """Begin to report; to be called within a running event loop."""
        self._starting = asyncio.create_task(self.start())

    async def stop_heartbeat(self) -> None:
        """Report no more; harmless when repeated."""
        await self.stop()

    async def beat(self) -> CheckOutcome:
        """Ask the check once and store its answer."""
        outcome = await self._outcome()
        heartbeat = Heartbeat(self.system, self._component, self.interval_seconds, outcome)
        try:
            await self._store.save(heartbeat)
        except (AtfError, OSError) as exc:
            _LOGGER.warning("heartbeat of %s not stored: %s", self.system, exc)
        return outcome

    async def _serve(self, started: Callable[[], None]) -> None:
        started()
        try:
            while True:
                is_well = (await self.beat()).status is HealthStatus.HEALTHY
                await asyncio.sleep(
                    self.interval_seconds if is_well else min(self.interval_seconds, _UNWELL_SECONDS)
                )
        finally:
            if self._pending is not None:
                self._pending.cancel()

    async def _outcome(self) -> CheckOutcome:
        """A check that still hangs is not asked a second time beside itself."""
        began = time.monotonic()
        if self._pending is None:
            self._pending = asyncio.create_task(run_check(self._check))
        await asyncio.wait({self._pending}, timeout=self._timeout)
        if not self._pending.done():
            return _down(f"the health check did not answer within {self._timeout:g} s")
        answered, self._pending = self._pending, None
        if answered.cancelled():
            return _down("the health check was cancelled")
        error = answered.exception()
        if error is not None:
            return _down(f"{type(error).__name__}: {error}")
        try:
            outcome = read_result(answered.result())
        except (ValueError, TypeError, RecursionError) as exc:
            return _down(str(exc))
        took = round((time.monotonic() - began) * 1000)
        return outcome if outcome.response_time_ms is not None else replace(outcome, response_time_ms=took)


def _lives() -> dict[str, object]:
    return {"status": HealthStatus.HEALTHY}


def _down(sentence: str) -> CheckOutcome:
    return CheckOutcome(HealthStatus.DOWN, error_message=sentence)
