"""Steps of a long run, such as one symbol each: what is done already when the run is taken up again.

A run may be rescued from a process that was killed, and is then tried anew; steps that were finished are kept,
with what came of them, so that only the rest has to be done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from atf.jobs.run import RunId

Outcome = Mapping[str, Any]


class RunSteps(Protocol):
    """Keeps the steps of runs."""

    async def begin(self, run_id: RunId, steps: Sequence[str]) -> Mapping[str, Outcome]:
        """Note the steps of a run, and return what came of those that are finished already."""
        ...

    async def finish(self, run_id: RunId, step: str, outcome: Outcome) -> None:
        """Note what came of a step; once it is finished it stays so."""
        ...
