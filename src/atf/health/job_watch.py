"""JobWatch: tells administrators what goes wrong with jobs: failures, backlogs, slow runs, lost workers.

One message an hour for each thing that is wrong, however often it is looked at and by however many: the message's
key holds the thing and the hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.clock import Clock
from atf.notifications.message import OutgoingMessage, Priority

CHANNELS: Final = ("inbox",)
SLOW_SHARE: Final = 0.8
"""A run that has used up so much of its time is slow; what takes seconds is not worth a message."""
SLOW_SECONDS: Final = 30.0
_LONGEST_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class FailedJob:
    """Runs of one job that failed for good within the last hour; without ``job_id`` those of no schedule."""

    job_type: str
    job_id: int | None
    name: str
    runs: int
    newest_error: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """Runs of a type that might have begun long ago. Units: seconds since the oldest one might have."""

    job_type: str
    waiting: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class SlowRun:
    """A run near its time limit. Units: seconds."""

    run_id: str
    job_type: str
    job_id: int | None
    seconds: float
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class LostWorker:
    """A worker whose lease ran out: it died, hangs, or cannot reach the database."""

    worker_id: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What one look found."""

    failed: Sequence[FailedJob] = ()
    backlogs: Sequence[Backlog] = ()
    slow: Sequence[SlowRun] = ()
    lost: Sequence[LostWorker] = ()


class WatchStore(Protocol):
    """Where jobs are looked at, and where messages go."""

    async def look(self, *, backlog_seconds: float) -> Findings:
        """Return what is wrong now, and what failed within the last hour."""
        ...

    async def administrators(self) -> Sequence[int]:
        """Return the ids of the users who are told."""
        ...

    async def tell(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages; one whose key is stored already is left alone. Return how many are new."""
        ...


class JobWatch:
    """A chore, run twice a minute."""

    name = "job_watch"
    cron = "*/30 * * * * *"

    def __init__(self, store: WatchStore, clock: Clock, *, backlog: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._backlog_seconds = backlog.total_seconds()

    async def run_once(self) -> int:
        """Look, and tell what has not been told in this hour; return how many messages are new."""
        findings = await self._store.look(backlog_seconds=self._backlog_seconds)
        notices = notices_of(findings)
        if not notices:
            return 0
        hour = self._clock.now().replace(minute=0, second=0, microsecond=0)
        administrators = await self._store.administrators()
        return await self._store.tell(
            [message_of(notice, user, hour) for notice in notices for user in administrators]
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that is wrong; ``subject`` tells it from others of its kind."""

    subject: str
    title: str
    body: str
    priority: Priority = Priority.HIGH


def notices_of(findings: Findings) -> list[Notice]:
    """Put what was found into words. Pure."""
    return [
        *map(_failed, findings.failed),
        *map(_backlog, findings.backlogs),
        *map(_slow, findings.slow),
        *map(_lost, findings.lost),
    ]


def message_of(notice: Notice, user_id: int, hour: datetime) -> OutgoingMessage:
    """Return the message to one administrator. Pure."""
    return OutgoingMessage(
        user_id=user_id,
        notification_type="job_watch",
        title=notice.title,
        body=notice.body,
        dedup_key=f"job_watch:{notice.subject}:{hour:%Y%m%dT%H}:{user_id}",
        channels=CHANNELS,
        priority=notice.priority,
    )


def _failed(job: FailedJob) -> Notice:
    what = f"{job.job_type} '{job.name}'" if job.name else job.job_type
    schedule = "runs without a schedule" if job.job_id is None else f"schedule {job.job_id}"
    error = job.newest_error[:_LONGEST_ERROR]
    body = f"{_runs(job.runs)} of {schedule} failed for good within an hour. Newest error: {error}. "
    body += "See `atf dlq list`."
    return Notice(f"failed:{job.job_type}:{job.job_id or 0}", f"Job failed: {what}", body)


def _backlog(backlog: Backlog) -> Notice:
    body = (
        f"{_runs(backlog.waiting)} wait, the oldest for {_time(backlog.oldest_seconds)}. "
        "See `atf workers list`: is there a worker for this type, and is it well?"
    )
    return Notice(f"backlog:{backlog.job_type}", f"Jobs wait: {backlog.job_type}", body)


def _slow(run: SlowRun) -> Notice:
    job = run.job_type if run.job_id is None else f"{run.job_type}_{run.job_id}"
    body = (
        f"Run {run.run_id} has taken {_time(run.seconds)} of the {_time(run.limit_seconds)} it may take; "
        "then it is stopped and tried again."
    )
    return Notice(f"slow:{run.run_id}", f"Job is slow: {job}", body, Priority.NORMAL)


def _lost(worker: LostWorker) -> Notice:
    body = f"Its lease ran out on {worker.host}, process {worker.pid}. What it held was given to others."
    return Notice(f"lost:{worker.worker_id}", f"Worker lost: {worker.worker_id}", body)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
