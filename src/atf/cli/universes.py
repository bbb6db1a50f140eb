"""``atf universes``: named sets of symbols, what they hold on a day and how they came to it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from atf.bootstrap.universes import UniversesClient, open_universes
from atf.cli.listing import day_option
from atf.cli.opened import with_opened
from atf.cli.output import JsonOption, UserOption, print_json, print_table
from atf.errors import InvalidInput
from atf.market.fundamentals import NUMBERS, Fundamentals
from atf.market.universes import EVERYBODY, Change, Listing
from atf.settings import load_settings

T = TypeVar("T")
app = typer.Typer()
_OWNER: Final = "owner"
_SHOWN: Final = ("name", "sector", *NUMBERS, "as_of")

NameArgument = Annotated[str, typer.Argument(help="Name of the universe, such as sp500.", metavar="NAME")]
OwnerOption = Annotated[str | None, typer.Option("--user", help="Whose universe. Default: owner.")]
EverybodyOption = Annotated[bool, typer.Option("--for-everybody", help="The one that all users have.")]
OnOption = Annotated[str | None, typer.Option("--on", help="A day such as 2024-01-31. Default: today.")]


def with_universes(user: str, work: Callable[[UniversesClient], Awaitable[T]]) -> T:
    """Open the configured database as a user, do the work, and return what it returned."""
    return with_opened(open_universes(load_settings(), user), work)


@app.command("list")
def list_universes(user: UserOption = _OWNER, as_json: JsonOption = False) -> None:
    """List the universes of everybody and of the user.

    Example: atf universes list
    """

    async def work(client: UniversesClient) -> list[dict[str, Any]]:
        return [asdict(one) for one in await client.listed()]

    found = with_universes(user, work)
    for one in found:
        one["owner"] = "everybody" if one.pop("user_id") == EVERYBODY else user
    if as_json:
        print_json(found)
        return
    columns = ("name", "owner", "symbols", "first_on", "newest_on")
    print_table("Universes", columns, [[one[name] for name in columns] for one in found])


@app.command()
def load(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(help="CSV, JSON, Parquet or text file of symbols.")],
    on: OnOption = None,
    user: OwnerOption = None,
    for_everybody: EverybodyOption = False,
) -> None:
    """Store the symbols of a file as the universe from a day on; who is not in it any more has left.

    Example: atf universes load sp500 sp500.csv --on 2024-01-31 --for-everybody
    """
    _refuse_both(user, for_everybody=for_everybody)
    day = day_option(on, "--on")

    async def work(client: UniversesClient) -> Change:
        return await client.load(name, file, day, for_everybody=for_everybody)

    done = with_universes(user or _OWNER, work)
    until = "" if done.until is None else f", until the version of {done.until}"
    what = f"{len(done.joined):,} joined, {len(done.left):,} left"
    what = what if done.joined or done.left else "unchanged"
    typer.echo(f"{name} has {done.symbols:,} symbols from {done.on} on{until}: {what}.")


@app.command()
def show(
    name: NameArgument,
    on: OnOption = None,
    fundamentals: Annotated[bool, typer.Option("--fundamentals", help="With what is known of each.")] = False,
    user: UserOption = _OWNER,
    as_json: JsonOption = False,
) -> None:
    """Show the symbols of a universe on a day, a line each, or with the fundamentals known on that day.

    Since when the list holds and when it was confirmed is said on standard error.

    Example: atf universes show sp500 --on 2024-01-31 --fundamentals
    """
    day = day_option(on, "--on")
    if fundamentals:
        _show_fundamentals(name, day, user, as_json=as_json)
        return

    async def work(client: UniversesClient) -> Listing:
        return await client.listing(name, day)

    found = with_universes(user, work)
    if as_json:
        print_json(found)
        return
    confirmed = f", last confirmed on {found.confirmed_on}" if found.confirmed_on > found.since else ""
    typer.echo(f"{name} has these {len(found.symbols):,} symbols since {found.since}{confirmed}.", err=True)
    typer.echo("\n".join(found.symbols))


@app.command()
def history(name: NameArgument, user: UserOption = _OWNER, as_json: JsonOption = False) -> None:
    """Show when symbols joined a universe and left it.

    Example: atf universes history sp500
    """

    async def work(client: UniversesClient) -> list[Change]:
        return list(await client.history(name))

    found = with_universes(user, work)
    if as_json:
        print_json(found)
        return
    rows = [(one.on, one.symbols, _names(one.joined), _names(one.left)) for one in found]
    print_table(f"Versions of {name}", ("from", "symbols", "joined", "left"), rows)


@app.command()
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    user: OwnerOption = None,
    for_everybody: EverybodyOption = False,
) -> None:
    """Delete a universe with all its versions, unless a schedule uses it.

    Example: atf universes delete sp500 --for-everybody
    """
    _refuse_both(user, for_everybody=for_everybody)
    if not yes and not sys.stdin.isatty():
        raise InvalidInput("is needed where nobody can be asked", field="--yes")
    if not yes:
        typer.confirm(f"Delete the universe {name} with all its versions?", abort=True)

    async def work(client: UniversesClient) -> int:
        return await client.delete(name, for_everybody=for_everybody)

    versions = with_universes(user or _OWNER, work)
    typer.echo(f"universe {name} deleted, with {versions:,} {'version' if versions == 1 else 'versions'}")


def _refuse_both(user: str | None, *, for_everybody: bool) -> None:
    if user is not None and for_everybody:
        raise InvalidInput("give either --user or --for-everybody", field="--for-everybody")


def _show_fundamentals(name: str, day: date | None, user: str, *, as_json: bool) -> None:
    async def work(client: UniversesClient) -> Mapping[str, Fundamentals | None]:
        return await client.described(name, day)

    found = with_universes(user, work)
    if as_json:
        print_json([{"symbol": symbol, "fundamentals": known} for symbol, known in found.items()])
        return
    rows = [[symbol, *(getattr(known, field, None) for field in _SHOWN)] for symbol, known in found.items()]
    print_table(name, ("symbol", *_SHOWN), rows)


def _names(symbols: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(symbols) - most:,} more" if len(symbols) > most else ""
    return (", ".join(symbols[:most]) + more) or "-"
