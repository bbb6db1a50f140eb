"""``atf cron``: what an expression means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from atf.cli.output import JsonOption, print_json
from atf.errors import InvalidInput
from atf.schedules.cron_parser import CronParser

app = typer.Typer()


@app.callback()
def _cron() -> None:
    """Say when a cron expression runs."""


@app.command("next")
def next_runs(
    expression: Annotated[str, typer.Argument(help="5 fields, or 6 with seconds first.", metavar="EXPR")],
    tz: Annotated[str, typer.Option("--tz", help="Time zone, an IANA name.")] = "UTC",
    after: Annotated[
        str | None, typer.Option("--after", help="Instant with its offset; default: now.", metavar="TIME")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="How many runs.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Print the next runs of a cron expression, in its time zone.

    Example: atf cron next "0 9 * * 1-5" --tz America/New_York --count 3
    """
    start = datetime.now(UTC) if after is None else _instant(after)
    runs = [run.isoformat() for run in CronParser.next_runs(expression, tz, after=start, count=count)]
    if as_json:
        print_json(runs)
    else:
        typer.echo("\n".join(runs))


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise InvalidInput(
            f"must be an instant with its offset such as 2026-03-06T10:00:00-05:00, got '{text}'",
            field="--after",
        )
    return instant
