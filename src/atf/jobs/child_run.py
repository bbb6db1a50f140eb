"""Computations in child processes as a worker sees them: what is asked for, who does it, how it goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from atf.errors import TemporaryFailure


@dataclass(frozen=True, slots=True)
class RunQuota:
    """What one run may take beside time, all its processes together; None: as much as the executor allows.

    Units: seconds of a processor, bytes.
    """

    cpu_seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Computation:
    """A function to be called away from the worker, with its one argument.

    ``compute`` is "package.module:function", a function from one JSON object to another; ``max_runtime`` counts
    from when a process takes it up, not while it waits for one.
    """

    compute: str
    document: Mapping[str, Any]
    max_runtime: timedelta
    quota: RunQuota = RunQuota()


class HeavyExecutor(Protocol):
    """Has computations done in processes that can be killed, here or on other machines."""

    def compute(self, computation: Computation) -> Future[dict[str, Any]]:
        """Begin as soon as a process is free; never blocks. Cancelling the future kills a run that has begun.

        Errors: RuntimeError after ``shutdown``; PermanentFailure if the document is not JSON. The future's:
                HandlerFailed, RunTimedOut, ChildDied.
        """
        ...

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more, end what was taken (unless it has not begun and is to be cancelled), free it all."""
        ...


class RunTimedOut(TemporaryFailure):
    """The run took longer than it may, and was killed with all that it had started."""


class ChildDied(TemporaryFailure):
    """The process of a run ended without an answer, or was killed for taking too much; the text says why.

    ``output`` is the end of what it wrote to its standard output and error.
    """

    def __init__(self, message: str, *, output: str = "") -> None:
        self.output = output
        super().__init__(f"{message}; its last output:\n{output}" if output else message)


class HandlerFailed(TemporaryFailure):
    """The function raised, or its result is not usable; it is tried again unless ``is_permanent``.

    ``remote_type``, ``remote_message`` and ``remote_traceback`` are those of the error in the other process.
    """

    def __init__(
        self,
        remote_type: str,
        remote_message: str,
        *,
        remote_traceback: str = "",
        is_permanent: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback
        self.is_permanent = is_permanent
        text = f"{remote_type}: {remote_message}" if remote_message else remote_type
        super().__init__(text, retry_after_seconds=retry_after_seconds)
