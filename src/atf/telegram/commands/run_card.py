"""A run as the bot shows it: a line in lists, a card by itself, and what can be done to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from atf.jobs.run import RunRecord, RunStatus
from atf.notifications.local_format import LocalFormat
from atf.notifications.run_message import SHORT_ID, error_sentence, run_name, short_result
from atf.notifications.texts import Texts
from atf.telegram.ask import Ask
from atf.telegram.local import local_of, shortened
from atf.telegram.reply import Button, Keyboard, Reply
from atf.telegram.rich_text import RichText, block, bold, code, lines, rich

_LONGEST_NAME: Final = 60
_LONGEST_ERROR: Final = 600
_LONGEST_RESULT: Final = 1500
_MOST_ATTEMPTS: Final = 5


def short_id(run: RunRecord) -> str:
    """Return the beginning of a run's id, by which it is found again."""
    return str(run.run_id)[:SHORT_ID]


def status_words(run: RunRecord, texts: Texts) -> str:
    """Return in a word where a run is."""
    if run.cancel_requested and not run.status.is_final:
        return texts("run-status-stopping")
    return texts(f"run-status-{run.status.lower()}")


def run_line(run: RunRecord, texts: Texts, local: LocalFormat) -> RichText:
    """Return a run as a line of a list."""
    at = local.local_time(run.finished_at or run.started_at or run.scheduled_for)
    name = shortened(run_name(run), _LONGEST_NAME)
    return code(short_id(run)) + f" {name}: {status_words(run, texts)}, {at}"


async def run_card(ask: Ask, run: RunRecord, head: str = "") -> Reply:
    """Return all that a person wants to know of a run, under a sentence if there is one."""
    local = await local_of(ask)
    parts = [rich(head), *_facts(run, ask.texts, local), *_outcome(run, ask.texts)]
    return Reply(lines(part for part in parts if not part.is_empty), _buttons(run, ask.texts))


def _facts(run: RunRecord, texts: Texts, local: LocalFormat) -> Sequence[RichText]:
    target = _object(run.snapshot).get("target")
    times = [
        (texts(f"run-{name}"), local.local_time(at, "long"))
        for name, at in (("due", run.scheduled_for), ("started", run.started_at), ("finished", run.finished_at))
        if at is not None
    ]
    steps = run.progress and texts("run-steps", done=str(run.progress.done), total=str(run.progress.total))
    return [
        bold(shortened(run_name(run), 4 * _LONGEST_NAME)),
        rich(f"{run.job_type}: {shortened(str(target), 2 * _LONGEST_NAME)}" if target else run.job_type),
        bold(texts("run-status")) + f" {status_words(run, texts)}",
        bold(texts("run-attempt")) + f" {run.attempt} / {run.max_attempts}",
        *(bold(label) + f" {at}" for label, at in times),
        rich(steps or ""),
        code(str(run.run_id)),
    ]


def _outcome(run: RunRecord, texts: Texts) -> Sequence[RichText]:
    # Of a run with one attempt alone the error says it all.
    told = run.attempts[-_MOST_ATTEMPTS:] if run.attempt > 1 or not run.status.is_final else ()
    parts = [rich(_attempt_line(one, texts)) for one in told]
    error = error_sentence(run)
    if error and run.status is not RunStatus.COMPLETED:
        parts.append(bold(texts("run-error")) + f" {shortened(error, _LONGEST_ERROR)}")
    result = short_result(run.result)[:_LONGEST_RESULT] if run.status is RunStatus.COMPLETED else ""
    return [*parts, block(result)] if result else parts


def _attempt_line(attempt: Mapping[str, Any], texts: Texts) -> str:
    outcome = shortened(str(attempt.get("outcome")).replace("_", " "), 20)
    error = attempt.get("error")
    message = error.get("message") if isinstance(error, Mapping) else error
    words = texts("run-attempt-ended", attempt=str(attempt.get("attempt")), outcome=outcome)
    return f"{words}: {shortened(str(message), _LONGEST_ERROR // 4)}" if message else words


def _buttons(run: RunRecord, texts: Texts) -> Keyboard:
    if run.status.is_final:
        return ((Button(texts("run-button-list"), "runs"),),)
    return (
        (
            Button(texts("run-button-look"), f"runs {run.run_id}"),
            Button(texts("run-button-cancel"), f"cancel {run.run_id}"),
        ),
        (Button(texts("run-button-list"), "runs"),),
    )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
