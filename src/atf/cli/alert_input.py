"""What a user may give for an alert: JSON, a line in words, or a template with parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import typer

from atf.alerts.alert_line import config_of_line
from atf.alerts.templates import from_template
from atf.cli.json_input import named_value, read_json
from atf.errors import InvalidInput
from atf.rules.line_error import InvalidLine

_JSON_BEGINS: Final = ("{", "@", "[", '"')


def config_given(text: str) -> Any:
    """Return the configuration of JSON, @FILE, - for standard input, or a line.

    Errors: InvalidInput; for a line a picture of the place goes to standard error before.
    """
    if text == "-" or text.lstrip().startswith(_JSON_BEGINS):
        return read_json(text.strip(), "config")
    try:
        return config_of_line(text)
    except InvalidLine as exc:
        typer.echo(exc.picture, err=True)
        raise


def config_in(file: str) -> Any:
    """Return the configuration in a file, - for standard input. Errors: InvalidInput."""
    return read_json(file if file == "-" else f"@{file}", "--config")


def config_of_template(name: str, ticker: str | None, timeframe: str | None, given: Sequence[str]) -> Any:
    """Return the configuration of a template. Errors: InvalidInput."""
    if ticker is None or timeframe is None:
        missing = "--ticker" if ticker is None else "--timeframe"
        raise InvalidInput("is missing: a template needs --ticker and --timeframe", field=missing)
    return from_template(name, ticker, timeframe, dict(map(named_value, given)))
