"""Health checks: what one returns, how a hung one is survived, and the check that work advances."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from atf.health.status import HealthStatus
from atf.lifecycle import Progress

CheckResult = Mapping[str, Any]
"""``status``, and if wanted ``response_time_ms``, ``error_message`` and ``metadata``."""
HealthCheck = Callable[[], CheckResult | Awaitable[CheckResult]]


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """The result of a health check, read and found to be one."""

    status: HealthStatus
    response_time_ms: int | None = None
    error_message: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_result(result: object) -> CheckOutcome:
    """Return what a check has said. Errors: ValueError that tells what is wrong with it."""
    if not isinstance(result, Mapping):
        raise ValueError(f"the health check returned {type(result).__name__} instead of a dict")
    status = result.get("status")
    if status not in list(HealthStatus):
        allowed = ", ".join(HealthStatus)
        raise ValueError(f"the health check returned status {status!r}; allowed: {allowed}")
    milliseconds, error, metadata = (
        result.get(name) for name in ("response_time_ms", "error_message", "metadata")
    )
    return CheckOutcome(
        HealthStatus(status),
        None if milliseconds is None else round(milliseconds),
        None if error is None else str(error),
        json.loads(json.dumps(metadata or {}, default=str, allow_nan=False)),
    )


def progress_check(progress: Progress, limit_seconds: float) -> Callable[[], CheckResult]:
    """Return a check that is DOWN when the loop has not come round for longer than the limit."""

    def check() -> CheckResult:
        age = progress.seconds_since
        metadata = {"progress_age_seconds": round(age, 1), "limit_seconds": limit_seconds}
        if age <= limit_seconds:
            return {"status": HealthStatus.HEALTHY, "metadata": metadata}
        sentence = f"no progress for {age:.0f} s; the limit is {limit_seconds:g} s"
        return {"status": HealthStatus.DOWN, "error_message": sentence, "metadata": metadata}

    return check


async def run_check(check: HealthCheck) -> object:
    """Return what the check returns, whatever kind of function it is.

    A synchronous one runs in a thread that does not keep the process alive, so that it may hang.
    """
    if inspect.iscoroutinefunction(check):
        return await check()
    result = await _in_thread(check)
    return await result if inspect.isawaitable(result) else result


async def _in_thread(check: HealthCheck) -> object:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[object] = loop.create_future()

    def settle(result: object, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = check()
        except Exception as exc:  # noqa: BLE001 - handed over to whoever awaits the answer
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and nobody awaits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="health check", daemon=True).start()
    return await answer
