"""What executors of computations have in common: functions by name, JSON in and out, never a pickle."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any, Final, ParamSpec, TypeVar, cast

from atf.jobs.child_run import Computation

_P = ParamSpec("_P")
_T = TypeVar("_T")
LONGEST_RUNTIME: Final = timedelta(hours=1)
"""How long a run may take that was submitted without saying so."""


class ComputationExecutor(Executor):
    """An executor whose functions are named, not sent: "package.module:function"."""

    def __init__(self, max_runtime: timedelta = LONGEST_RUNTIME) -> None:
        self._max_runtime = max_runtime

    @abstractmethod
    def compute(self, computation: Computation) -> Future[dict[str, Any]]:
        """Call the named function as soon as a process is free; never blocks."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call a module-level function with one JSON object, for at most the executor's ``max_runtime``.

        Errors: ValueError for any other function or argument; else as ``compute``.
        """
        if kwargs or len(args) != 1 or "." in fn.__qualname__ or fn.__module__ == "__main__":
            raise ValueError("a run is a function of an importable module, called with one JSON object")
        document = cast("dict[str, Any]", args[0])
        name = f"{fn.__module__}:{fn.__qualname__}"
        return cast("Future[_T]", self.compute(Computation(name, document, self._max_runtime)))
