"""How processes log: readable lines on a terminal, one JSON object a line elsewhere, and never a secret.

Rooms log through the standard library with ``extra`` for ids, such as ``extra={"job_id": 7}``; everything that
libraries log goes the same way. What is not one of the known ids becomes the line's ``context``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import Processor

from atf.secrecy import MASK as _MASK
from atf.secrecy import concealed

_IDS: Final = ("job_id", "run_id", "user_id", "bot_id")
_CHATTY: Final = ("aiogram", "alembic", "apscheduler", "asyncio", "httpcore", "httpx", "sqlalchemy", "uvicorn")
_SECRET_NAME: Final = re.compile(r"pass(word|wd)?$|secret|token|api_?key|credential|authorization", re.IGNORECASE)
# scheme://user:password@host, and name=value or "name": "value" pairs of the same names
_SECRET_TEXTS: Final = (
    (re.compile(r"(\w[\w+.-]*://[^/\s:@]*:)[^@/\s]+(@)"), rf"\1{_MASK}\2"),
    (
        re.compile(r"(?i)(\b(?:password|passwd|secret|token|api_?key)\b[\"']?\s*[=:]\s*[\"']?)[^\s\"',&;]+"),
        rf"\1{_MASK}",
    ),
    (re.compile(r"(\batf_[a-z]+_[0-9a-f]{16}_)[\w-]+"), rf"\1{_MASK}"),  # our own tokens, also within a link
)

EventDict = MutableMapping[str, Any]


def configure_logging(service: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything that this process logs to ``stream`` (standard error), as one service's lines."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(service, is_terminal=target.isatty()))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _formatter(service: str, *, is_terminal: bool) -> ProcessorFormatter:
    renderer: Processor = _console_line if is_terminal else structlog.processors.JSONRenderer(ensure_ascii=False)
    return ProcessorFormatter(
        foreign_pre_chain=[ExtraAdder()],
        processors=[structlog.processors.format_exc_info, _Shape(service), _mask_secrets, renderer],
    )


class _Shape:
    """Puts a line into its fixed order: what every line has, the ids it has, the message, the rest."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event.pop("_record")
        event.pop("_from_structlog", None)
        message = event.pop("event")
        traceback = event.pop("exception", None)
        line: EventDict = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname,
            "service": self._service,
            "component": record.name.removeprefix("atf."),
            **{name: event.pop(name) for name in _IDS if name in event},
            "message": message,
        }
        context = {name: _plain(value) for name, value in event.items()}
        if context:
            line["context"] = context
        if traceback:
            line["traceback"] = traceback
        return line


def _mask_secrets(_: object, __: str, line: EventDict) -> EventDict:
    masked: EventDict = _masked(line)
    return masked


def _masked(value: Any) -> Any:
    match value:
        case str():
            value = concealed(value)
            for pattern, replacement in _SECRET_TEXTS:
                value = pattern.sub(replacement, value)
            return value
        case MutableMapping():
            return {
                name: _MASK if _SECRET_NAME.search(str(name)) else _masked(part) for name, part in value.items()
            }
        case list():
            return [_masked(part) for part in value]
        case _:
            return value


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what it cannot is shown as text, where secrets are found too."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {str(name): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return str(value)


def _console_line(_: object, __: str, line: EventDict) -> str:
    ids = "".join(f" {name}={line[name]}" for name in _IDS if name in line)
    context = "".join(f" {name}={value}" for name, value in line.get("context", {}).items())
    text = f"{line['timestamp'][:19]}Z [{line['level']}] {line['service']}: {line['message']}{ids}{context}"
    return f"{text}\n{line['traceback']}" if "traceback" in line else text
