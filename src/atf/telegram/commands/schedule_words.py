"""A new schedule, read from the words behind /schedules add: TYPE TARGET [NAME] CRON [JSON]."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from atf.errors import InvalidInput
from atf.schedules.cron_parser import CronParser
from atf.telegram.ask import Ask, UsageError
from atf.telegram.commands.run_words import json_object

_FIELDS: Final = (6, 5)
"""How many words a cron has; one with seconds is looked for first."""
_NAME_IN_QUOTES: Final = re.compile(r"[\"“„]([^\"“”„]{1,255})[\"”“]\s+(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What was said of a schedule."""

    job_type: str
    target: str
    name: str
    cron: str
    task_params: Mapping[str, Any]


def new_schedule_of(ask: Ask, words: str) -> NewSchedule:
    """Return the schedule that the words are about. Errors: UsageError."""
    words, brace, rest = words.partition("{")
    params = json_object(ask, brace + rest) if brace else {}
    parts = words.split(None, 2)
    if len(parts) < 3:
        raise UsageError(ask.texts("schedules-add-words"), field="schedules")
    job_type, target, behind = parts
    name, cron = _name_and_cron(behind)
    _require_cron(ask, cron)
    return NewSchedule(job_type, target, name or f"{job_type} {target}"[:255], cron, params)


def _name_and_cron(words: str) -> tuple[str, str]:
    """Return the name, which may stand in quotes, and the cron: as many of the last words as can be one."""
    quoted = _NAME_IN_QUOTES.fullmatch(words)
    if quoted is not None:
        return quoted[1].strip(), " ".join(quoted[2].split())
    parts = words.split()
    for count in _FIELDS:
        if len(parts) >= count and _can_be_cron(parts[-count:]):
            return " ".join(parts[:-count]), " ".join(parts[-count:])
    return "", " ".join(parts)


def _can_be_cron(parts: Sequence[str]) -> bool:
    try:
        CronParser.parse(" ".join(parts), "UTC")
    except InvalidInput:
        return False
    return True


def _require_cron(ask: Ask, cron: str) -> None:
    try:
        CronParser.parse(cron, "UTC")
    except InvalidInput as exc:
        words = ask.texts("schedules-cron", reason=exc.reason)
        raise UsageError(words, field=exc.field) from exc
