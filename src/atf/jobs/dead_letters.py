"""Dead letters: runs that failed for good, kept with the errors of all their attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from atf.errors import Conflict, NotFound
from atf.jobs.job_type import JobTypes
from atf.jobs.run import RunId, RunRecord
from atf.jobs.run_request import NewRun, attempts_of
from atf.jobs.sensitive_jobs import SensitiveJobs
from atf.market.market_clock import MarketClock


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A run that failed for good, and why. ``attempts`` has every attempt, the last one too."""

    id: int
    run_id: RunId
    job_type: str
    job_id: int | None
    user_id: int | None
    scheduled_for: datetime
    reason: str
    attempt: int
    max_attempts: int
    priority: int
    error: str | None
    error_details: Mapping[str, Any] | None
    attempts: Sequence[Mapping[str, Any]]
    job_snapshot: Mapping[str, Any] | None
    died_at: datetime
    requeued_at: datetime | None
    requeued_run_id: RunId | None


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters to list, newest first; None means any. ``is_open``: not requeued yet."""

    user_id: int
    job_type: str | None = None
    job_id: int | None = None
    is_open: bool | None = None
    limit: int = 50


class DeadLetterStore(Protocol):
    """Dead letters in the database."""

    async def list_dead_letters(self, wanted: DeadLetterFilter) -> Sequence[DeadLetter]:
        """Return a user's dead letters, newest first."""
        ...

    async def get_dead_letter(self, user_id: int, letter_id: int) -> DeadLetter | None:
        """Return one."""
        ...

    async def requeue_dead_letter(self, letter_id: int, new: NewRun) -> RunRecord | None:
        """Store its new run and mark it, in one transaction; None if it is marked or gone already."""
        ...

    async def drop_dead_letter(self, user_id: int, letter_id: int) -> bool:
        """Forget one; return whether there was one."""
        ...


class DeadLettersService:
    """Dead letters as users see them."""

    def __init__(
        self, store: DeadLetterStore, clock: MarketClock, types: JobTypes, sensitive: SensitiveJobs
    ) -> None:
        self._letters = store
        self._clock = clock
        self._types = types
        self._sensitive = sensitive

    async def list_dead_letters(self, wanted: DeadLetterFilter) -> Sequence[DeadLetter]:
        """Return dead letters, newest first."""
        return [self._shown_letter(letter) for letter in await self._letters.list_dead_letters(wanted)]

    async def get_dead_letter(self, user_id: int, letter_id: int) -> DeadLetter:
        """Return one, the sensitive fields of its run masked. Errors: NotFound."""
        return self._shown_letter(await self._stored_letter(user_id, letter_id))

    def _shown_letter(self, letter: DeadLetter) -> DeadLetter:
        return replace(letter, job_snapshot=self._sensitive.snapshot(letter.job_type, letter.job_snapshot))

    async def _stored_letter(self, user_id: int, letter_id: int) -> DeadLetter:
        letter = await self._letters.get_dead_letter(user_id, letter_id)
        if letter is None:
            raise NotFound(f"there is no dead letter {letter_id}")
        return letter

    async def requeue_dead_letter(self, user_id: int, letter_id: int) -> RunRecord:
        """Run it again: a new run with all its attempts. Errors: NotFound; Conflict if that was done already."""
        letter = await self._stored_letter(user_id, letter_id)
        if letter.requeued_run_id is not None:
            raise Conflict(f"dead letter {letter_id} was requeued already, as run {letter.requeued_run_id}")
        run = await self._letters.requeue_dead_letter(letter_id, await self._run_of(letter))
        if run is None:
            raise Conflict(f"dead letter {letter_id} was requeued or dropped by somebody else meanwhile")
        return self._sensitive.run(run)

    async def drop_dead_letter(self, user_id: int, letter_id: int) -> None:
        """Forget one. Errors: NotFound."""
        if not await self._letters.drop_dead_letter(user_id, letter_id):
            raise NotFound(f"there is no dead letter {letter_id}")

    async def _run_of(self, letter: DeadLetter) -> NewRun:
        is_replay = self._clock.is_replay
        return NewRun(
            job_type=letter.job_type,
            job_id=letter.job_id,
            user_id=letter.user_id,
            retention_class="replay" if is_replay else self._types.get(letter.job_type).retention_class,
            snapshot=letter.job_snapshot or {},
            priority=letter.priority,
            max_attempts=attempts_of(letter.max_attempts, letter.attempts),
            scheduled_for=await self._clock.now() if is_replay else None,
            retry_of=letter.run_id,
        )
