"""``atf alerts replay``: golden cases through the evaluator and a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from atf.alerts.case_outcome import ERROR, Difference, Replayed, differences
from atf.alerts.cases import parse_cases
from atf.cli.json_input import read_json
from atf.cli.output import JsonOption, print_json, print_table
from atf.security.limits import LARGEST_CASES
from atf.settings import load_settings

app = typer.Typer()


@app.command()
def replay(
    cases: Annotated[str, typer.Argument(help="A file of cases, - for standard input.", metavar="CASES.json")],
    check: Annotated[
        bool, typer.Option("--check", help="Compare with what the file expects; exit status 1 if it differs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replay cases: alerts, the bars they are fed, and what happens.

    Everything but bars and time is real: alerts, runs and states are rows of a scratch database on the configured
    server, which is dropped afterwards; your own data is not touched.

    Example: atf alerts replay cases.json --check
    """
    from atf.bootstrap.alert_replay import replay_cases  # it migrates, which no other command should load

    given = read_json(cases if cases == "-" else f"@{cases}", "CASES.json", largest=LARGEST_CASES)
    wanted = parse_cases(given, with_expected=check)
    found = replay_cases(load_settings(), wanted)
    differing = differences(wanted, found)
    if as_json:
        print_json(asdict(found) | ({"differences": differing} if check else {}))
    else:
        _print(found)
        for one in differing:
            typer.echo(_sentence(one))
        if check:
            typer.echo(_summary(found, differing))
    if differing:
        raise typer.Exit(1)


def _print(found: Replayed) -> None:
    if found.cases:
        rows = [
            (one.name, _shown(one.trigger_bar_times), one.final_state_status, one.final_data_status)
            for one in found.cases
        ]
        print_table("Cases", ("name", "triggered by the bars", "status", "data"), rows)
    if found.invalid_configs:
        refusals = [
            (one.name, "accepted" if one.accepted else one.error_path or "the whole", one.message)
            for one in found.invalid_configs
        ]
        print_table("Invalid configurations", ("name", "refused at", "message"), refusals)


def _sentence(one: Difference) -> str:
    if one.field == ERROR:
        return f"{one.name}: {one.got}"
    return f"{one.name}: {one.field}: expected {_shown(one.expected)}, got {_shown(one.got)}"


def _summary(found: Replayed, differing: Sequence[Difference]) -> str:
    total = len(found.cases) + len(found.invalid_configs)
    wrong = len({one.name for one in differing})
    return f"{total} cases, {wrong} not as expected" if wrong else f"{total} cases, all as expected"


def _shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case datetime():
            return f"{value.astimezone(UTC).isoformat().replace('+00:00', 'Z')}"
        case list() | tuple():
            return " ".join(map(_shown, value)) or "none"
        case _:
            return str(value)
