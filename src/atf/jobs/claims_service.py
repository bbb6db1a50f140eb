"""Runs for programs outside of the worker processes: claim one or some, report how it went.

Such a program holds a lease like a worker, under the name that it gives; what it claims is given to others when
the lease is over. Claiming again extends it. It gets sensitive fields masked: they are for handlers alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from atf.errors import AtfError, Conflict, InvalidInput, NotFound
from atf.jobs.field_checks import require_integer, require_text
from atf.jobs.job_type import JobTypes
from atf.jobs.queue import Cancelled, Outcome, Outcomes, PutBack, Wanted
from atf.jobs.retry import pause_before_retry
from atf.jobs.run import ClaimedRun, Completion, Failure, RunId, RunRecord, RunStatus, WorkerId
from atf.jobs.run_request import RunUpdate
from atf.jobs.sensitive_jobs import SensitiveJobs

LEASE: Final = timedelta(minutes=10)
_MOST_AT_ONCE: Final = 10_000


class ReportedFailure(AtfError):
    """What a program says went wrong in its run."""


@dataclass(frozen=True, slots=True)
class RunState:
    """A run and who holds it."""

    status: RunStatus
    worker_id: WorkerId | None
    run: ClaimedRun


class ClaimStore(Protocol):
    """The queue as outside programs use it."""

    async def pending_runs(self, job_type: str | None, limit: int) -> Sequence[RunRecord]:
        """Return runs that may begin now, in the order in which they are claimed."""
        ...

    async def keep_lease(self, worker_id: WorkerId, types: Sequence[str], lease: timedelta) -> None:
        """Write or extend the lease of a holder."""
        ...

    async def claim_run(
        self, worker_id: WorkerId, run_id: RunId, *, lease: timedelta, max_runtime: timedelta
    ) -> ClaimedRun | None:
        """Take one run, and the lease that it needs, in one transaction; None if it cannot be taken now."""
        ...

    async def claim_runs(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> Sequence[ClaimedRun]:
        """Take due runs, if the holder's lease is alive."""
        ...

    async def state_of(self, run_id: RunId) -> RunState | None:
        """Return where a run is."""
        ...

    async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
        """Write outcomes down; return the ids of those runs that the holder still held."""
        ...

    async def cancel_waiting(self, run_id: RunId) -> bool:
        """Cancel a run if it is PENDING; return whether it was."""
        ...

    async def annotate(self, run_id: RunId, update: RunUpdate) -> RunRecord:
        """Store result, error and instants that are given, and return the run."""
        ...


class ClaimsService:
    """The queue for programs outside of the worker processes."""

    def __init__(self, store: ClaimStore, types: JobTypes, sensitive: SensitiveJobs) -> None:
        self._claims = store
        self._types = types
        self._sensitive = sensitive

    async def get_pending_runs(self, job_type: str | None = None, limit: int = 10) -> Sequence[RunRecord]:
        """Return runs that may begin now, next first. Looking takes nothing: claim what is wanted."""
        if job_type is not None:
            self._types.get(job_type)
        require_integer(limit, "limit", 1, _MOST_AT_ONCE)
        return [self._sensitive.run(run) for run in await self._claims.pending_runs(job_type, limit)]

    async def claim_run(self, run_id: RunId, worker_id: str, lease: timedelta = LEASE) -> ClaimedRun:
        """Take one run.

        Errors: NotFound; Conflict if somebody else has it, it has ended, it is not due yet, or as many of its
                schedule as may be are running.
        """
        holder = _holder(worker_id)
        state = await self._state(run_id)
        limits = self._types.get(state.run.job_type).limits
        claimed = await self._claims.claim_run(holder, run_id, lease=lease, max_runtime=limits.max_runtime)
        if claimed is None:
            raise _not_claimable(await self._state(run_id))
        return self._sensitive.claimed(claimed)

    async def claim_runs(
        self, worker_id: str, types: Sequence[str], limit: int, lease: timedelta = LEASE
    ) -> Sequence[ClaimedRun]:
        """Take up to ``limit`` due runs of these types; none if nothing is due."""
        holder = _holder(worker_id)
        require_integer(limit, "limit", 1, _MOST_AT_ONCE)
        definitions = [self._types.get(name) for name in types]
        await self._claims.keep_lease(holder, types, lease)
        claimed: list[ClaimedRun] = []
        for one in definitions:
            if len(claimed) < limit:
                wanted = Wanted(one.name, limit - len(claimed), one.limits.max_runtime)
                claimed += await self._claims.claim_runs(holder, [wanted])
        return [self._sensitive.claimed(run) for run in claimed]

    async def complete(self, run_id: RunId, worker_id: str, result: Mapping[str, Any]) -> None:
        """End a run that this holder has. Errors: NotFound; Conflict if it is no longer the holder's."""
        run = await self._held(run_id, worker_id)
        sealed = await self._sensitive.sealed_result(run.user_id, run.job_type, result)
        await self._finish(_holder(worker_id), Completion(run, sealed))

    async def fail(self, run_id: RunId, worker_id: str, error: str, *, permanent: bool = False) -> None:
        """Say that a run did not work out: it is tried again after a pause, unless it was the last attempt.

        Errors: NotFound; Conflict if it is no longer the holder's.
        """
        run = await self._held(run_id, worker_id)
        reported = ReportedFailure(error)
        delay = self._types.get(run.job_type).limits.own(run.snapshot).retry_delay
        pause = pause_before_retry(reported, run.attempt, delay, random.random())  # noqa: S311 - no secret
        await self._finish(_holder(worker_id), Failure(run, reported, is_permanent=permanent, retry_in=pause))

    async def update_run(self, run_id: RunId, update: RunUpdate) -> RunRecord:
        """Change a run as the transition table allows, and store what is given.

        Errors: NotFound; Conflict for a change of state that there is not, or if somebody else has the run.
        """
        state = await self._state(run_id)
        update = await self._sensitive.sealed_update(state.run, update)
        wanted = update.status
        if update.worker_id is not None and state.worker_id not in (None, update.worker_id):
            raise Conflict(f"run {run_id} belongs to {state.worker_id}")
        if wanted is not None and wanted is not state.status:
            if not state.status.may_become(wanted):
                raise Conflict(f"run {run_id} is {state.status} and cannot become {wanted}")
            await self._move(state, wanted, update)
        return self._sensitive.run(await self._claims.annotate(run_id, update))

    async def _move(self, state: RunState, wanted: RunStatus, update: RunUpdate) -> None:
        run_id = state.run.run_id
        if wanted is RunStatus.RUNNING:
            if update.worker_id is None:
                raise InvalidInput("is missing: a run becomes RUNNING for somebody", field="worker_id")
            await self.claim_run(run_id, update.worker_id)
        elif state.status is RunStatus.PENDING:
            if not await self._claims.cancel_waiting(run_id):
                raise Conflict(f"run {run_id} has been changed by somebody else meanwhile; look at it again")
        else:
            await self._finish(state.worker_id or WorkerId(""), _outcome(state.run, wanted, update))

    async def _held(self, run_id: RunId, worker_id: str) -> ClaimedRun:
        state = await self._state(run_id)
        if state.status is not RunStatus.RUNNING or state.worker_id != worker_id:
            raise _lost(state.run, worker_id)
        return state.run

    async def _finish(self, holder: WorkerId, outcome: Outcome) -> None:
        """Fenced by holder and attempt: what was taken away since it was looked at is not touched."""
        if outcome.run.key.id not in await self._claims.finish(holder, Outcomes.of([outcome])):
            raise _lost(outcome.run, holder)

    async def _state(self, run_id: RunId) -> RunState:
        state = await self._claims.state_of(run_id)
        if state is None:
            raise NotFound(f"there is no run {run_id}")
        return state


def _holder(worker_id: str) -> WorkerId:
    return WorkerId(require_text(worker_id, "worker_id"))


def _outcome(run: ClaimedRun, wanted: RunStatus, update: RunUpdate) -> Outcome:
    match wanted:
        case RunStatus.COMPLETED:
            return Completion(run, update.result or {})
        case RunStatus.FAILED:
            return Failure(run, ReportedFailure(update.error or "no reason was given"), is_permanent=True)
        case RunStatus.CANCELLED:
            return Cancelled(run)
        case _:
            return PutBack(run)


def _lost(run: ClaimedRun, worker_id: str) -> Conflict:
    return Conflict(f"run {run.run_id} is not, or no longer, held by {worker_id}")


def _not_claimable(state: RunState) -> Conflict:
    if state.status is RunStatus.PENDING:
        return Conflict(f"run {state.run.run_id} may not begin yet: it is not due, or others of its schedule run")
    holder = f" and belongs to {state.worker_id}" if state.status is RunStatus.RUNNING else ""
    return Conflict(f"run {state.run.run_id} is {state.status}{holder}")
