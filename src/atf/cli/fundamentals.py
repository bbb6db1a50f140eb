"""``atf fundamentals``: what is known of companies, by day."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from atf.bootstrap.fundamentals_fetching import FetchingClient, open_fetching
from atf.bootstrap.universes import LoadedFundamentals, UniversesClient
from atf.cli.listing import day_option
from atf.cli.opened import with_opened
from atf.cli.output import JsonOption, UserOption, print_json, print_table
from atf.cli.progress import DONE, progress
from atf.cli.universes import with_universes
from atf.errors import AtfError, InvalidInput, PermanentFailure, TemporaryFailure
from atf.market.fundamentals import FIELDS, Fundamentals
from atf.market.fundamentals_fetch import Outcome
from atf.settings import load_settings

app = typer.Typer()


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="CSV, JSON or Parquet file with a column of symbols.")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="The day of its numbers, if it has no such column. Default: today."),
    ] = None,
) -> None:
    """Store the fundamentals of a file; what it does not say of a day stays as it is stored.

    Example: atf fundamentals load sp500.csv --as-of 2024-01-31
    """
    day = day_option(as_of, "--as-of")

    async def work(client: UniversesClient) -> LoadedFundamentals:
        return await client.load_fundamentals(file, day)

    done = with_universes("owner", work)
    repeated = (
        f"; {done.repeated:,} earlier ones of the same symbol and day are left out" if done.repeated else ""
    )
    typer.echo(f"{done.rows:,} rows are stored{repeated}.")


@app.command()
def fetch(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Symbols, such as AAPL or VOD.L.", metavar="SYMBOL")
    ] = None,
    universe: Annotated[
        str | None, typer.Option("--universe", help="In place of symbols: those of a universe today.")
    ] = None,
    provider: Annotated[str, typer.Option("--provider", help="Who is asked; yahoo.")] = "yahoo",
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Fetch what a provider knows of companies now, and store it as of today, in UTC.

    Example: atf fundamentals fetch --universe sp500 --provider yahoo
    """
    if bool(symbols) == (universe is not None):
        raise InvalidInput("give either symbols or --universe", field="--universe")

    async def work(client: FetchingClient) -> Mapping[str, Outcome]:
        wanted = await client.wanted(symbols or (), universe)
        with progress("fetching", len(wanted)) as advance:
            return await client.fetch(provider, wanted, on_symbol=lambda: advance(DONE))

    found = with_opened(open_fetching(load_settings(), user), work)
    if as_json:
        print_json([_outcome(symbol, each) for symbol, each in found.items()])
    else:
        _say(found)
    _refuse_if_any_failed(found)


@app.command()
def show(
    symbol: Annotated[str, typer.Argument(help="Symbol, such as AAPL.")], as_json: JsonOption = False
) -> None:
    """Show all that is known of a symbol, oldest day first.

    Example: atf fundamentals show AAPL
    """

    async def work(client: UniversesClient) -> list[Fundamentals]:
        return list(await client.fundamentals_of(symbol))

    found = with_universes("owner", work)
    if as_json:
        print_json(found)
        return
    columns = [name for name in FIELDS if name != "symbol"]
    rows = [[getattr(one, name) for name in columns] for one in found]
    print_table(f"Fundamentals of {found[0].symbol}", columns, rows)


def _outcome(symbol: str, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, AtfError):
        return {"symbol": symbol, "fundamentals": None, "error": str(outcome)}
    return {"symbol": symbol, "fundamentals": outcome, "error": None}


def _say(found: Mapping[str, Outcome]) -> None:
    """Say what failed, a line each, and how many symbols are stored; the day may change meanwhile."""
    for symbol, each in found.items():
        if isinstance(each, AtfError):
            typer.echo(f"{symbol}: {each}", err=True)
    stored = [each for each in found.values() if isinstance(each, Fundamentals)]
    days = " and ".join(sorted({str(each.as_of) for each in stored}))
    typer.echo(f"{len(stored):,} of {len(found):,} symbols are stored{f' as of {days}' if days else ''}.")


def _refuse_if_any_failed(found: Mapping[str, Outcome]) -> None:
    failed = [each for each in found.values() if isinstance(each, AtfError)]
    if not failed:
        return
    may_come = all(isinstance(each, TemporaryFailure) for each in failed)
    raise (TemporaryFailure if may_come else PermanentFailure)(
        f"{len(failed)} of {len(found)} symbols could not be fetched"
    )
