"""Alerts in one line, checked as any configuration is; ``atf.rules.line`` reads lines."""

from __future__ import annotations

from typing import Any

from atf.alerts.alert import parse_alert
from atf.errors import InvalidInput
from atf.rules.line import read_alert_line


def config_of_line(text: str) -> dict[str, Any]:
    """Return the configuration that a line says, which ``parse_alert`` accepts.

    Errors: InvalidLine, a ``picture`` of the place with it, also for what only the check of alerts refuses.
    """
    line = read_alert_line(text)
    try:
        parse_alert(line.config)
    except InvalidInput as exc:
        raise line.refusal(exc) from exc
    return line.config
