"""What a user is told when a run has ended that was to tell of its end: how, and what came out in short. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from atf.jobs.run import JobType, RunRecord, RunStatus
from atf.jobs.run_request import NOTIFY, NOTIFY_CHANNELS
from atf.notifications.foreign_text import one_line
from atf.notifications.message import OutgoingMessage, Priority
from atf.notifications.texts import Texts, texts_in
from atf.security.sealed_fields import masked

RUN_ENDED: Final = "run"
"""The ``notification_type`` of runs that have no type of message of their own."""
SHORT_ID: Final = 8
"""Characters of a run's id by which people name it."""
_OWN_TYPES: Final = (JobType.REPORT, JobType.SCREENER)
_SUMMARIES: Final = ("summary", "text", "message")
_MOST_LINES: Final = 20
_LONGEST_VALUE: Final = 200
_LONGEST_SUMMARY: Final = 3000
_LONGEST_NAME: Final = 100


def run_ended_message(run: RunRecord, user_id: int, language: str) -> OutgoingMessage:
    """Return what its user is told of a run that has ended."""
    texts, snapshot = texts_in(language), _object(run.snapshot)
    return OutgoingMessage(
        user_id=user_id,
        notification_type=run.job_type if run.job_type in _OWN_TYPES else RUN_ENDED,
        title=_title(run.status, texts, run_name(run)),
        body="\n".join(part for part in (_words(run), _trailer(run, texts)) if part),
        dedup_key=f"run-ended:{run.run_id}",
        channels=_channels(snapshot.get(NOTIFY)),
        priority=Priority.HIGH,
        payload={
            "run_id": str(run.run_id),
            "job_type": run.job_type,
            "target": snapshot.get("target"),
            "status": str(run.status),
        },
    )


def run_name(run: RunRecord) -> str:
    """Return what people call a run: its own name, or the type of its job."""
    name = _object(run.snapshot).get("name")
    return one_line(name)[:_LONGEST_NAME] if isinstance(name, str) and name else run.job_type


def error_sentence(run: RunRecord) -> str:
    """Return why a run failed, without the name of the class that programmers gave it."""
    message = _object(run.error_details).get("message")
    return message if isinstance(message, str) and message else run.error or ""


def short_result(result: Mapping[str, Any] | None) -> str:
    """Return what came out in a few lines: its own summary, or names and values; what is sealed is masked."""
    document = _object(masked(_object(result)))
    for name in _SUMMARIES:
        if isinstance(document.get(name), str):
            return str(document[name])[:_LONGEST_SUMMARY]
    lines = [f"{name}: {_value(value)}" for name, value in document.items()]
    more = ["…"] if len(lines) > _MOST_LINES else []
    return "\n".join([*lines[:_MOST_LINES], *more])[:_LONGEST_SUMMARY]


def _title(status: RunStatus, texts: Texts, name: str) -> str:
    match status:
        case RunStatus.COMPLETED:
            return texts("run-completed", name=name)
        case RunStatus.CANCELLED:
            return texts("run-cancelled", name=name)
        case _:
            return texts("run-failed", name=name)


def _words(run: RunRecord) -> str:
    if run.status is RunStatus.COMPLETED:
        return short_result(run.result)
    return error_sentence(run)[:_LONGEST_SUMMARY]


def _trailer(run: RunRecord, texts: Texts) -> str:
    return texts("run-number", run=str(run.run_id)[:SHORT_ID], attempt=run.attempt)


def _channels(stored: object) -> tuple[str, ...]:
    """Return the channels as they were asked for; what somebody has edited into nonsense goes to the inbox."""
    found = [name for name in stored if name in NOTIFY_CHANNELS] if isinstance(stored, list) else []
    return tuple(dict.fromkeys(found)) or ("inbox",)


def _value(value: object) -> str:
    text = one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
