"""``atf data``: the stored bars, what is missing and wrong in them, and files made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import isnan
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from atf.bootstrap.market_client import MarketClient, Wanted, draw_chart, open_market_client
from atf.cli import data_loading
from atf.cli.listing import span_option
from atf.cli.opened import with_opened
from atf.cli.output import JsonOption, print_json, print_table
from atf.errors import ConfigurationError
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.report_sentences import gap_sentence, sentences, verdict
from atf.market.sparkline import sparkline
from atf.market.symbols import canonical
from atf.settings import load_settings

T = TypeVar("T")
app = typer.Typer()
app.registered_commands += data_loading.app.registered_commands

SymbolArgument = Annotated[str, typer.Argument(help="Symbol, such as AAPL or BTC/USDT.")]
TimeframeArgument = Annotated[Timeframe, typer.Argument(help="Timeframe of the bars.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Only bars that open then or later.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only bars that open before.")]
AdjustedOption = Annotated[
    bool, typer.Option("--adjusted", help="Adjust prices for splits and dividends that are known.")
]


def with_market(work: Callable[[MarketClient], Awaitable[T]]) -> T:
    """Open the market data of the configured database, do the work, and return what it returned."""
    return with_opened(open_market_client(load_settings()), work)


@app.command("list")
def list_series(as_json: JsonOption = False) -> None:
    """List the series of which bars are stored.

    Example: atf data list
    """

    async def work(client: MarketClient) -> Sequence[Any]:
        return await client.spans()

    found = with_market(work)
    rows = [(one.series.symbol, one.series.timeframe, one.count, one.first, one.last) for one in found]
    columns = ("symbol", "timeframe", "bars", "first", "last")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table("Stored series", columns, rows)


@app.command()
def show(
    symbol: SymbolArgument,
    timeframe: TimeframeArgument,
    last: Annotated[int, typer.Option("--last", min=1, max=100_000, help="How many bars.")] = 10,
    chart: Annotated[
        str | None, typer.Option("--chart", help="Draw them into this .png file; - draws in the terminal.")
    ] = None,
    adjusted: AdjustedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the newest stored bars, as a table, as JSON or as a picture.

    Example: atf data show AAPL 1d --last 250 --chart aapl.png
    """
    series = Series(canonical(symbol), timeframe)

    async def work(client: MarketClient) -> Bars:
        await _say_if_raw(client, series, is_adjusted=adjusted)
        return await client.newest(series, last, is_adjusted=adjusted)

    bars = with_market(work)
    if as_json:
        print_json(_rows(bars))
    if chart is not None:
        _draw(chart, bars, series)
    elif not as_json:
        print_table(str(series), ("bar", *COLUMNS), [list(row.values()) for row in _rows(bars)])


@app.command()
def check(
    symbol: SymbolArgument,
    timeframe: TimeframeArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is missing in stored bars and what looks wrong, by the calendar of their market.

    Example: atf data check AAPL 1d --since 2020-01-01
    """
    wanted = _wanted(symbol, timeframe, since, until)

    async def work(client: MarketClient) -> Any:
        return await client.report(wanted)

    found = with_market(work)
    if as_json:
        print_json(found)
        return
    for sentence in sentences(found):
        typer.echo(sentence)
    typer.echo(verdict(found))


@app.command()
def gaps(
    symbol: SymbolArgument, timeframe: TimeframeArgument, since: SinceOption = None, as_json: JsonOption = False
) -> None:
    """List all gaps in stored bars: when a market traded and no bar is there.

    Example: atf data gaps BTC/USDT 1h --since 2024-01-01
    """
    wanted = _wanted(symbol, timeframe, since, None)

    async def work(client: MarketClient) -> Any:
        return await client.gaps(wanted)

    found = with_market(work)
    if as_json:
        print_json(found.gaps)
        return
    for gap in found.gaps:
        typer.echo(gap_sentence(gap))
    typer.echo(f"{wanted.series}: {found.missing:,} of {found.expected:,} bars are missing.")


@app.command()
def export(
    symbol: SymbolArgument,
    timeframe: TimeframeArgument,
    file: Annotated[Path, typer.Argument(help="A .csv, .csv.gz, .json or .parquet file.")],
    since: SinceOption = None,
    until: UntilOption = None,
    adjusted: AdjustedOption = False,
) -> None:
    """Write stored bars into a file.

    Example: atf data export AAPL 1d aapl.parquet --adjusted
    """
    wanted = _wanted(symbol, timeframe, since, until, is_adjusted=adjusted)

    async def work(client: MarketClient) -> int:
        await _say_if_raw(client, wanted.series, is_adjusted=adjusted)
        return await client.export(wanted, file)

    typer.echo(f"{with_market(work):,} bars of {wanted.series} are in {file}.")


def _wanted(
    symbol: str, timeframe: Timeframe, since: str | None, until: str | None, *, is_adjusted: bool = False
) -> Wanted:
    begin, end = span_option(since, until)
    return Wanted(Series(canonical(symbol), timeframe), begin, end, is_adjusted)


async def _say_if_raw(client: MarketClient, series: Series, *, is_adjusted: bool) -> None:
    if is_adjusted and not await client.has_factors(series.symbol):
        typer.echo(f"No adjustment factors of {series.symbol} are stored: prices are raw.", err=True)


def _rows(bars: Bars) -> list[dict[str, Any]]:
    """Return a row a bar; a value that is missing is None."""
    columns = [[None if isnan(value) else value for value in bars.column(name).tolist()] for name in COLUMNS]
    times = [bars.time_at(index) for index in range(len(bars))]
    return [dict(zip(("bar", *COLUMNS), row, strict=True)) for row in zip(times, *columns, strict=True)]


def _draw(chart: str, bars: Bars, series: Series) -> None:
    """Draw into a file; in the terminal if that is wanted, or if there is nothing to draw files with."""
    if chart == "-":
        typer.echo(sparkline(bars.close))
        return
    try:
        asyncio.run(draw_chart(Path(chart), bars, str(series)))
    except ConfigurationError:
        typer.echo(sparkline(bars.close))
        raise
    typer.echo(f"{len(bars):,} bars of {series} are drawn in {chart}.", err=True)
