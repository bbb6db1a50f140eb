"""``atf fundamentals``: what is known of companies, by day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atf.bootstrap.universes import LoadedFundamentals, UniversesClient
from atf.cli.listing import day_option
from atf.cli.output import JsonOption, print_json, print_table
from atf.cli.universes import with_universes
from atf.market.fundamentals import FIELDS, Fundamentals

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
