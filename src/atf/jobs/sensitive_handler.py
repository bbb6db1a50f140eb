"""SensitiveHandler: opens the sensitive fields of a job for its handler alone.

Nothing of them leaves it: results are sealed where their schema says so, and masked where a value is elsewhere in
them; errors whose text or traceback says one are told without it.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from atf.errors import PermanentFailure
from atf.jobs.child_run import HandlerFailed
from atf.jobs.handler import Job, RunHandler
from atf.jobs.job_type import JobTypeDefinition
from atf.jobs.pool import error_of
from atf.jobs.retry import is_permanent
from atf.jobs.sensitive_jobs import SensitiveJobs
from atf.secrecy import concealed, concealed_document, secrecy


class SensitiveHandler:
    """A ``RunHandler`` around that of a type with sensitive fields; parameters are checked once they are open."""

    def __init__(self, handler: RunHandler, definition: JobTypeDefinition, sensitive: SensitiveJobs) -> None:
        self.job_type = handler.job_type
        self.keeps_time: bool = getattr(handler, "keeps_time", False)
        self._handler = handler
        self._check = definition.check
        self._sensitive = sensitive

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Do the work. Errors: those of the check and of the handler, without secrets; SealBroken."""
        with secrecy():
            try:
                return await self._handle(job)
            except Exception as exc:
                told = _without_secrets(error_of(exc))
                if told is exc:
                    raise
                raise told from None

    async def _handle(self, job: Job) -> Mapping[str, Any]:
        params = await self._sensitive.opened_params(job.user_id, job.job_type, job.task_params)
        self._check(job.target, params)
        result: object = await self._handler.handle(replace(job, task_params=params))
        if not isinstance(result, Mapping):
            raise PermanentFailure(f"the handler returned {type(result).__name__} instead of an object")
        sealed: Mapping[str, Any] = concealed_document(
            await self._sensitive.sealed_result(job.user_id, job.job_type, result)
        )
        return sealed


def checked_when_opened(target: str, task_params: Mapping[str, Any]) -> None:
    """Check nothing: what is sealed is checked by the handler that opens it."""


def _without_secrets(error: Exception) -> Exception:
    """Return an error that says the same as another one, but for secrets; the error itself if it says none."""
    kind = getattr(error, "remote_type", None) or type(error).__name__
    message = getattr(error, "remote_message", None)
    said = str(error) if message is None else message
    trace = getattr(error, "remote_traceback", None) or "".join(traceback.format_exception(error))
    if concealed(said) == said and concealed(trace) == trace:
        return error
    return HandlerFailed(
        kind,
        concealed(said),
        remote_traceback=concealed(trace),
        is_permanent=is_permanent(error),
        retry_after_seconds=getattr(error, "retry_after_seconds", None),
    )
