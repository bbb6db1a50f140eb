"""MissingHandler: what meets the runs of a type that nothing here can do, so that they end and say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atf.errors import PermanentFailure
from atf.jobs.handler import Job


class MissingHandler:
    """Fails every run at once and for good; one that waited for ever would be found by nobody."""

    def __init__(self, job_type: str) -> None:
        self.job_type = job_type

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Refuse. Errors: PermanentFailure."""
        raise PermanentFailure(f"this installation has nothing that does '{job.job_type}' jobs")
