"""Pools: the runs of one job type in one worker, from being claimed to having an outcome."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from atf.jobs.job_type import JobTypeDefinition
from atf.jobs.queue import Outcome, Wanted
from atf.jobs.run import ClaimedRun, WorkerId
from atf.jobs.run_metrics import TypeMetrics

GRACE_SECONDS: Final = 5.0
"""How long a handler may go on after it was told to stop; then its run ends without it."""

Report = Callable[[WorkerId, Outcome], None]
"""Takes what became of a run."""


@dataclass(frozen=True, slots=True)
class PoolSeams:
    """What a pool is connected with: its job type, who takes outcomes, who counts, who claims when there is room.

    ``most`` is how many runs may be claimed at once.
    """

    definition: JobTypeDefinition
    report: Report
    metrics: TypeMetrics
    has_room: Callable[[], None]
    most: int
    jitter: Callable[[], float] = random.random


class Pool(Protocol):
    """What the worker asks of the runs of a type."""

    @property
    def wanted(self) -> Wanted | None:
        """What there is room for; None if there is none."""
        ...

    @property
    def in_hand(self) -> Iterable[int]:
        """The ids of the runs that are claimed and not yet written down."""
        ...

    def accept(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> None:
        """Take runs that were claimed."""
        ...

    def cancel(self, ids: frozenset[int]) -> None:
        """Stop those of these runs that are here, as somebody asked for it."""
        ...

    def watch(self) -> None:
        """Give up runs whose handler does not stop; called about every second."""
        ...

    def forget(self, run: ClaimedRun) -> None:
        """Let go of a run that is written down."""
        ...

    def return_waiting(self) -> None:
        """Put back what has not begun."""
        ...

    async def abandon(self) -> None:
        """Stop everything and report nothing: the runs may belong to somebody else by now."""
        ...


async def cancel_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended, or a grace time is over."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=GRACE_SECONDS)


def is_being_cancelled() -> bool:
    """Whether somebody cancels the present task: else a CancelledError comes from what it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def error_of(raised: BaseException) -> Exception:
    """Return what a handler raised as an error of its run; one that cannot even be put into words is replaced."""
    if not isinstance(raised, Exception):
        return RuntimeError(f"the handler ended by {type(raised).__name__}")
    try:
        str(raised)
    except Exception:  # noqa: BLE001 - a plug-in's __str__ must not keep its run from ending
        return RuntimeError(f"the handler raised {type(raised).__name__}, whose text cannot be read")
    return raised
