"""``atf data``, the commands that bring data in: files, providers, adjustment factors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from atf.bootstrap.market_loading import Imported, MarketLoader, open_market_loader
from atf.cli.listing import span_option
from atf.cli.opened import with_opened
from atf.cli.output import JsonOption, UserOption, print_json, print_table
from atf.cli.progress import DONE, Advance, progress
from atf.errors import AtfError, PermanentFailure, TemporaryFailure
from atf.market.bars import Series, Timeframe
from atf.market.download import Download
from atf.market.session_dates import WeekendDate
from atf.market.symbols import canonical
from atf.settings import load_settings

T = TypeVar("T")
app = typer.Typer()


def with_loader(user: str, work: Callable[[MarketLoader], Awaitable[T]]) -> T:
    """Open the configured database as a user, do the work, and return what it returned."""
    return with_opened(open_market_loader(load_settings(), user), work)


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON or Parquet files of bars.", metavar="FILE...")],
    symbol: Annotated[
        str | None, typer.Option("--symbol", help="Default: the file's symbol column, or its name.")
    ] = None,
    timeframe: Annotated[
        Timeframe | None, typer.Option("--timeframe", help="Default: the usual distance of the bars.")
    ] = None,
    weekend_date: Annotated[
        WeekendDate | None,
        typer.Option(
            "--weekend-date",
            help="Weekly bars dated Saturday or Sunday: the day opens their week (the next Monday's) or ends it.",
        ),
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Store the bars of files; bad bars are put aside with the reason, and stored ones replaced.

    Daily bars with a time of day get the date of their session, by the symbol's calendar.

    Example: atf data import AAPL.csv --symbol AAPL --timeframe 1d
    """

    found: list[Imported] = []

    async def work(loader: MarketLoader) -> None:
        with progress("importing", len(files)) as advance:
            for path in files:
                found.extend(await loader.import_file(path, symbol, timeframe, weekend=weekend_date))
                advance(DONE)

    try:
        with_loader(user, work)
    finally:
        # Also if a file was refused: those before it are stored.
        _tell(found, as_json=as_json)
    _refuse_if_any_is_empty(found)


@app.command()
def fetch(
    symbols: Annotated[list[str], typer.Argument(help="Symbols, such as AAPL or BTC/USDT.", metavar="SYMBOL...")],
    timeframe: Annotated[Timeframe, typer.Option("--timeframe", help="Timeframe of the bars.")] = Timeframe.D1,
    source: Annotated[
        str | None, typer.Option("--from", help="Provider, such as yahoo or binance. Default: the symbol's own.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="Default: behind the newest stored bar.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Default: now.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch what is stored already, too.")] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Fetch history into the store; what is there already is not fetched again.

    Example: atf data fetch AAPL MSFT --timeframe 1d --from yahoo --since 2020-01-01
    """
    span = span_option(since, until)
    wanted = [Series(canonical(symbol), timeframe) for symbol in symbols]

    async def work(loader: MarketLoader) -> dict[Series, Download | AtfError]:
        with progress("fetching", len(wanted)) as advance:
            return {each: await _fetched(loader, source, each, span, advance, again=again) for each in wanted}

    found = with_loader(user, work)
    if as_json:
        print_json([_outcome(series, each) for series, each in found.items()])
    else:
        for series, each in found.items():
            typer.echo(_sentence(series, each), err=isinstance(each, AtfError))
    _refuse_if_any_failed(found)


@app.command()
def providers(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """List the providers of the settings and the symbols that each is asked for.

    Example: atf data providers
    """

    async def work(loader: MarketLoader) -> Any:
        return await loader.providers()

    found = with_loader(user, work)
    if as_json:
        print_json([{"name": s.name, "is_local": s.is_local, "symbols": list(patterns)} for s, patterns in found])
        return
    rows = [(state.name, "here" if state.is_local else "network", ", ".join(symbols)) for state, symbols in found]
    print_table("Providers", ("name", "where", "symbols"), rows)


@app.command()
def factors(
    symbol: Annotated[str, typer.Argument(help="Symbol, such as AAPL.")],
    file: Annotated[Path, typer.Argument(help="A CSV file with date, price_factor and split_factor.")],
    user: UserOption = "owner",
) -> None:
    """Store the adjustment factors of a symbol, in place of those that are there.

    Example: atf data factors AAPL factors/AAPL.csv
    """

    async def work(loader: MarketLoader) -> int:
        return await loader.import_factors(file, symbol)

    typer.echo(f"{with_loader(user, work)} adjustment factors of {canonical(symbol)} are stored.")


async def _fetched(
    loader: MarketLoader,
    source: str | None,
    series: Series,
    span: tuple[datetime | None, datetime | None],
    advance: Advance,
    *,
    again: bool,
) -> Download | AtfError:
    """Fetch one series; what goes wrong with it is told at the end, as others may work."""
    shown = 0.0

    def on_piece(done: Download) -> None:
        nonlocal shown
        advance(done.share - shown)
        shown = done.share

    try:
        return await loader.fetch(source, series, *span, again=again, on_piece=on_piece)
    except AtfError as exc:
        return exc
    finally:
        advance(DONE - shown)


def _tell(found: list[Imported], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(_imported(one))


def _refuse_if_any_is_empty(found: list[Imported]) -> None:
    empty = sum(one.first is None for one in found)
    if empty:
        raise PermanentFailure(f"{empty} of {len(found)} series have no bar that can be used")


def _imported(one: Imported) -> str:
    if one.first is None or one.last is None:
        text = f"{one.series}: no bar can be used"
    else:
        text = (
            f"{one.series}: {one.bars:,} bars stored, {one.first:%Y-%m-%d %H:%M}Z to {one.last:%Y-%m-%d %H:%M}Z"
        )
    reasons = ", ".join(f"{count:,} ({reason})" for reason, count in one.put_aside.items())
    return f"{text}; put aside: {reasons}" if reasons else text


def _sentence(series: Series, outcome: Download | AtfError) -> str:
    if isinstance(outcome, AtfError):
        return f"{series}: {outcome}"
    text = f"{series}: {outcome.bars:,} bars fetched"
    return f"{text}; {outcome.put_aside:,} put aside" if outcome.put_aside else text


def _outcome(series: Series, outcome: Download | AtfError) -> dict[str, Any]:
    name = {"symbol": series.symbol, "timeframe": str(series.timeframe)}
    if isinstance(outcome, AtfError):
        return {**name, "error": str(outcome)}
    return {**name, "bars": outcome.bars, "put_aside": outcome.put_aside, "error": None}


def _refuse_if_any_failed(found: dict[Series, Download | AtfError]) -> None:
    failed = {series: each for series, each in found.items() if isinstance(each, AtfError)}
    if not failed:
        return
    may_come = all(isinstance(each, TemporaryFailure) for each in failed.values())
    raise (TemporaryFailure if may_come else PermanentFailure)(
        f"{len(failed)} of {len(found)} series could not be fetched"
    )
