"""``atf audit``: who did what, from where, when, and what came of it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.listing import instant_option
from atf.cli.output import JsonOption, LimitOption, UserOption, plain, print_json, print_table, shown
from atf.errors import InvalidInput
from atf.security.audit import AuditEntry, AuditFilter, AuditOutcome

app = typer.Typer()

By = Annotated[str | None, typer.Option("--by", help="Only what this user did; atf: the services.")]
Action = Annotated[
    str | None, typer.Option("--action", help="Such as schedule.update, or schedule for all of its kind.")
]
Object = Annotated[str | None, typer.Option("--object", help="Such as schedule:7, or schedule for all.")]
Outcome = Annotated[AuditOutcome | None, typer.Option("--outcome", help="Only these.")]
Since = Annotated[str | None, typer.Option("--since", help="From this instant on, ISO 8601.")]
Until = Annotated[str | None, typer.Option("--until", help="Before this instant, ISO 8601.")]
_PAGE: Final = 1_000


class Format(StrEnum):
    """How entries are written to a file."""

    JSONL = "jsonl"
    CSV = "csv"


@app.command("list")
def list_entries(
    by: By = None,
    action: Action = None,
    of: Object = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    limit: LimitOption = 50,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List what was done, newest first.

    Example: atf audit list --object schedule:7 --since 2026-11-01
    """
    wanted = _wanted(by, action, of, outcome, since, until)
    entries = with_client(user, lambda client: client.audit.entries(wanted, limit=limit))
    if as_json:
        print_json(entries)
        return
    columns = ("at", "who", "from", "what", "of", "came of it", "change")
    print_table("Audit log", columns, [_row(entry) for entry in entries])


@app.command()
def export(
    file: Annotated[str, typer.Argument(help="Where to; - for standard output.", metavar="FILE")],
    form: Annotated[Format, typer.Option("--format", help="One JSON object a line, or a table.")] = Format.JSONL,
    by: By = None,
    action: Action = None,
    of: Object = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    user: UserOption = "owner",
) -> None:
    """Write all entries into a file, newest first; the file must not be there yet.

    Example: atf audit export audit.csv --format csv --since 2026-01-01
    """
    wanted = _wanted(by, action, of, outcome, since, until)
    if file == "-":
        with_client(user, lambda client: _write(client, wanted, sys.stdout, form))
        return
    try:
        with Path(file).open("x", encoding="utf-8", newline="") as stream:
            count = with_client(user, lambda client: _write(client, wanted, stream, form))
    except FileExistsError as exc:
        raise InvalidInput(f"{file} is there already; name another file", field="FILE") from exc
    except OSError as exc:
        raise InvalidInput(f"{file} cannot be written: {exc.strerror}", field="FILE") from exc
    typer.echo(f"{count} entries in {file}")


async def _write(client: Client, wanted: AuditFilter, stream: TextIO, form: Format) -> int:
    """Write page by page, as the log may be longer than memory."""
    table = csv.DictWriter(stream, [field.name for field in fields(AuditEntry)])
    if form is Format.CSV:
        table.writeheader()
    count, before_id = 0, None
    while page := await client.audit.entries(wanted, limit=_PAGE, before_id=before_id):
        for row in _plain_rows(page):
            if form is Format.CSV:
                table.writerow({name: _cell(value) for name, value in row.items()})
            else:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        count, before_id = count + len(page), page[-1].id
    return count


def _plain_rows(entries: Sequence[AuditEntry]) -> Iterator[dict[str, Any]]:
    return (plain(asdict(entry)) for entry in entries)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _wanted(
    by: str | None,
    action: str | None,
    of: str | None,
    outcome: AuditOutcome | None,
    since: str | None,
    until: str | None,
) -> AuditFilter:
    object_type, _, object_id = (of or "").partition(":")
    return AuditFilter(
        actor=by,
        action=action,
        object_type=object_type or None,
        object_id=object_id or None,
        outcome=outcome,
        since=instant_option(since, "--since"),
        until=instant_option(until, "--until"),
    )


def _row(entry: AuditEntry) -> tuple[object, ...]:
    of = f"{entry.object_type}:{entry.object_id}" if entry.object_id else entry.object_type
    came = entry.outcome if entry.detail is None else f"{entry.outcome}: {entry.detail}"
    origin = entry.origin if entry.address is None else f"{entry.origin} {entry.address}"
    return entry.at, entry.actor, origin, entry.action, of, came, _change(entry)


def _change(entry: AuditEntry) -> str | None:
    """Say what is other than it was; of what is new or gone the fields would be too many."""
    if entry.before is None or entry.after is None:
        return None
    return ", ".join(
        f"{name}: {shown(old)} → {shown(entry.after.get(name))}" for name, old in entry.before.items()
    )
