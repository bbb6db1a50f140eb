"""``atf alerts explain`` and ``atf alerts preview``: why an alert fired or not, and when one would have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atf.alerts.alert import Alert
from atf.alerts.alert_line import config_of_line
from atf.alerts.explained import Explained
from atf.alerts.preview import MOST_BARS, Preview, Previewed
from atf.alerts.rearming import rearm_words, span_words
from atf.alerts.trigger import Trigger
from atf.bootstrap.alert_preview import (
    Overrides,
    Range,
    alert_to_preview,
    draw_preview,
    preview_file,
    stored_config,
)
from atf.bootstrap.alert_preview import preview as preview_here
from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.json_input import read_json
from atf.cli.listing import instant_option
from atf.cli.output import JsonOption, UserOption, print_json, print_table
from atf.errors import InvalidInput
from atf.market.bars import Timeframe
from atf.market.report_sentences import said
from atf.rules.words import number_words, rule_words

app = typer.Typer()

_SHOWN: Final = 20
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@app.command()
def explain(
    alert_id: Annotated[
        int, typer.Argument(help="The alert's number, as `atf alerts list` shows it.", metavar="ID")
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", help="The bar that is open then. Default: the newest that was evaluated."),
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Say why an alert did or did not fire on a bar: every value, every verdict, and what is on record.

    Example: atf alerts explain 1 --at 2024-03-08
    """
    instant = instant_option(at, "--at")

    async def work(client: Client) -> Explained:
        return await client.explainer.explain(client.user_id, alert_id, instant)

    found = with_client(user, work)
    if as_json:
        print_json(found.as_json())
    else:
        typer.echo(found.as_text())


@app.command()
def preview(
    alert_id: Annotated[int | None, typer.Argument(help="A stored alert.", metavar="[ID]")] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="A file with a configuration, - for standard input.")
    ] = None,
    line: Annotated[str | None, typer.Option("--line", help="An alert in one line.")] = None,
    bars: Annotated[
        Path | None, typer.Option("--bars", help="A .csv, .csv.gz, .json or .parquet file of bars.")
    ] = None,
    ticker: Annotated[str | None, typer.Option("--ticker", help="Another ticker than the alert's.")] = None,
    timeframe: Annotated[
        Timeframe | None, typer.Option("--timeframe", help="Another timeframe than the alert's.")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="Only bars that open then or later.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Only bars that open then or earlier.")] = None,
    chart: Annotated[Path | None, typer.Option("--chart", help="Draw it into this .png file.")] = None,
    is_all: Annotated[
        bool, typer.Option("--all", help="List all triggers, not the newest 20; JSON always has all.")
    ] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Say when an alert would have fired on bars of the past, as if it had been made before the first of them.

    Bars before --from feed indicators. Nothing is stored and nobody is told. With --bars and --config or --line
    no database is needed.

    Example: atf alerts preview 1 --from 2023-01-01 --chart alert.png

    Example: atf alerts preview --line "GOOG 1d: sma(50) crosses above sma(200)" --bars goog.csv
    """
    wanted = _range(since, until)
    given = _given_config(alert_id, config, line)
    overrides = Overrides(ticker, timeframe)
    if given is not None and bars is not None:
        found = asyncio.run(preview_file(bars, alert_to_preview(given, overrides), wanted))
    else:

        async def work(client: Client) -> Previewed:
            chosen = given if alert_id is None else await stored_config(client, alert_id)
            alert = alert_to_preview(chosen, overrides)
            if bars is None:
                return await preview_here(client, alert, wanted)
            return await preview_file(bars, alert, wanted)

        found = with_client(user, work)
    if chart is not None:  # first, as whoever reads the list may stop reading
        draw_preview(chart, found)
        typer.echo(f"drawn in {chart}", err=True)
    if as_json:
        print_json(_document(found.trace.alert, found.preview))
    else:
        _print(found.trace.alert, found.preview, None if is_all else _SHOWN)


def _range(since: str | None, until: str | None) -> Range:
    begin, end = instant_option(since, "--from"), instant_option(until, "--to")
    if begin is not None and end is not None and begin > end:
        raise InvalidInput("must not be later than --to", field="--from")
    return Range(begin, end)


def _given_config(alert_id: int | None, config: str | None, line: str | None) -> object | None:
    """Return the configuration if one is given, None for that of a stored alert. Errors: InvalidInput."""
    if sum(given is not None for given in (alert_id, config, line)) != 1:
        raise InvalidInput("give one of: the ID of an alert, --config, --line")
    if config is not None:
        document: object = read_json(config if config == "-" else f"@{config}", "--config")
        return {} if document is None else document
    return None if line is None else config_of_line(line)


def _document(alert: Alert, found: Preview) -> dict[str, Any]:
    silence, ended = found.longest_silence, found.ended
    return {
        "ticker": alert.series.symbol,
        "timeframe": str(alert.series.timeframe),
        "rule": rule_words(alert.rule),
        "closes_only": alert.is_live,
        "bars": found.bars,
        "unknown_bars": found.unknown_bars,
        "is_cut": found.is_cut,
        "first_bar": found.first_bar,
        "last_bar": found.last_bar,
        "triggers": [
            {
                "bar_time": trigger.bar_time,
                "close": _finite(trigger.bar["close"]),
                "value": _finite(trigger.value),
                "threshold": _finite(trigger.threshold),
            }
            for trigger in found.triggers
        ],
        "months": dict(found.months),
        "longest_silence": {
            "from": silence.begins_at,
            "to": silence.ends_at,
            "seconds": silence.length.total_seconds(),
            "bars": silence.bars,
        },
        "ended": None if ended is None else {"status": str(ended.status), "bar_time": ended.bar_time},
    }


def _print(alert: Alert, found: Preview, most: int | None) -> None:
    typer.echo(f"{alert.series}: {rule_words(alert.rule)}; {rearm_words(alert.rearm)}")
    for sentence in _sentences(alert, found):
        typer.echo(sentence)
    if not found.triggers:
        return
    shown = found.triggers if most is None else found.triggers[-most:]
    title = "Triggers" if len(shown) == len(found.triggers) else f"Newest {len(shown)} of {len(found.triggers):,}"
    print_table(title, ("bar", "close", "value", "threshold"), [_row(trigger) for trigger in shown])
    print_table("By month", ("year", *_MONTHS, "all"), _by_year(found.months))


def _sentences(alert: Alert, found: Preview) -> list[str]:
    count, silence = len(found.triggers), found.longest_silence
    times = {0: "It would not have triggered", 1: "It would have triggered once"}
    would = times.get(count, f"It would have triggered {count:,} times")
    bars = f"{_counted(found.bars)} from {said(found.first_bar)} to {said(found.last_bar)}"
    sentences = [f"{would} on {bars}."]
    if found.unknown_bars:
        sentences.append(f"On {_counted(found.unknown_bars)} the rule was unknown, as a value was missing.")
    if count:
        span = f"from {said(silence.begins_at)} to {said(silence.ends_at)}"
        sentences.append(f"Longest silence: {span}, {span_words(silence.length)}, {_counted(silence.bars)}.")
    if found.ended is not None:
        sentences.append(
            f"It would have been {found.ended.status} from the bar of {said(found.ended.bar_time)} on."
        )
    if found.is_cut:
        sentences.append(f"Only the newest {MOST_BARS:,} bars of the range were evaluated; see --to.")
    if alert.is_live:
        sentences.append(
            "It is live, and bars as they were forming are not on record: this is what their closes would have "
            "triggered. Live it may fire earlier in a bar, and on one that did not close so (repainting)."
        )
    return sentences


def _row(trigger: Trigger) -> tuple[str, ...]:
    numbers = (trigger.bar["close"], trigger.value, trigger.threshold)
    return said(trigger.bar_time), *map(number_words, numbers)


def _by_year(months: Mapping[str, int]) -> Sequence[tuple[object, ...]]:
    """Return a row a year: the count of each month, a dot for none, nothing for a month without bars."""
    years = dict.fromkeys(month[:4] for month in months)
    rows = []
    for year in years:
        counts = [months.get(f"{year}-{number:02}") for number in range(1, 13)]
        rows.append(
            (year, *("" if count is None else count or "·" for count in counts), sum(filter(None, counts)))
        )
    return rows


def _counted(bars: int) -> str:
    return f"{bars:,} bar{'' if bars == 1 else 's'}"


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
