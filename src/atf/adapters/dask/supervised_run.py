"""What runs on a Dask worker: one child process with all limits, watched until it ends or nobody wants it.

Dask carries texts only: the request and the answer are JSON, errors included.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from distributed import get_worker

from atf.adapters.processes.documents import encoded
from atf.adapters.processes.executor import ProcessExecutor
from atf.adapters.processes.limits import RunLimits
from atf.jobs.child_run import ChildDied, Computation, HandlerFailed, RunQuota, RunTimedOut

_LOOK_SECONDS: Final = 0.25


def request_of(computation: Computation, limits: RunLimits) -> str:
    """Return a computation as a Dask worker takes it. Errors: PermanentFailure if its document is not JSON."""
    request = {
        "compute": computation.compute,
        "document": dict(computation.document),
        "max_seconds": computation.max_runtime.total_seconds(),
        "limits": asdict(limits),
        "quota": asdict(computation.quota),
    }
    return encoded(request, "the input of the run", limits.document_bytes).decode()


def run_supervised(request: str) -> str:
    """Do a run on the Dask worker that calls this; it is killed if Dask takes the task away."""
    worker = get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in ("executing", "long-running")

    return supervised(request, is_wanted)


def supervised(request: str, is_wanted: Callable[[], bool]) -> str:
    """Do a run in a child process of its own and return its outcome, for ``result_of``."""
    asked = json.loads(request)
    quota, runtime = RunQuota(**asked["quota"]), timedelta(seconds=asked["max_seconds"])
    computation = Computation(asked["compute"], asked["document"], runtime, quota)
    with ProcessExecutor(1, runs_per_child=1, limits=RunLimits(**asked["limits"])) as executor:
        return json.dumps(_outcome(executor.compute(computation), is_wanted))


def _outcome(future: Future[dict[str, Any]], is_wanted: Callable[[], bool]) -> dict[str, Any]:
    try:
        return {"result": _result(future, is_wanted)}
    except CancelledError:
        return {"error": "cancelled"}
    except RunTimedOut as exc:
        return {"error": "timed_out", "message": str(exc)}
    except ChildDied as exc:
        return {"error": "died", "message": str(exc)}
    except HandlerFailed as exc:
        return {"error": "failed", **_told(exc)}


def _result(future: Future[dict[str, Any]], is_wanted: Callable[[], bool]) -> dict[str, Any]:
    while True:
        try:
            return future.result(_LOOK_SECONDS)
        except TimeoutError:
            if not is_wanted():
                future.cancel()


def _told(error: HandlerFailed) -> dict[str, Any]:
    return {
        "remote_type": error.remote_type,
        "remote_message": error.remote_message,
        "remote_traceback": error.remote_traceback,
        "is_permanent": error.is_permanent,
        "retry_after_seconds": error.retry_after_seconds,
    }


def result_of(answer: str) -> dict[str, Any]:
    """Return the result that an answer holds. Errors: those of the run, as a local executor raises them."""
    told: dict[str, Any] = json.loads(answer)
    match told.pop("error", None):
        case None:
            result: dict[str, Any] = told["result"]
            return result
        case "failed":
            kind, message = told.pop("remote_type"), told.pop("remote_message")
            raise HandlerFailed(kind, message, **told)
        case "timed_out":
            raise RunTimedOut(told["message"])
        case "died":
            raise ChildDied(told["message"])
        case _:
            raise ChildDied("the Dask worker stopped the run, as Dask had taken the task away")
