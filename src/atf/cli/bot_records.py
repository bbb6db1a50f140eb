"""``atf bots orders``, ``trades`` and the other lists: what a bot did and holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

import typer

from atf.bootstrap.client import Client
from atf.cli.bot_arguments import BeforeOption, BotIdArgument, OpenOption
from atf.cli.client import with_client
from atf.cli.listing import instant_option
from atf.cli.output import JsonOption, LimitOption, UserOption, print_json, print_table
from atf.trading.bot_records import RecordFilter
from atf.trading.bots_service import Wanted

app = typer.Typer()
_COLUMNS: Final = {
    "History": "id:number at kind level text:what details",
    "Orders": (
        "id:number bar_at:bar symbol side type quantity limit_price:limit stop_price:stop status "
        "filled_quantity:filled average_price:at_price fees reason"
    ),
    "Fills": "id:number filled_at:at symbol side quantity price fee client_order_id:order",
    "Positions": (
        "id:number symbol direction status quantity average_price:price realized_pnl:realized "
        "fees origin opened_at:opened closed_at:closed"
    ),
    "Trades": (
        "id:number symbol direction status size entry_time:entered entry_price:at_price "
        "exit_time:left exit_price:at_price realized_pnl:realized fees"
    ),
    "Equity": "bar_at:bar equity cash",
}
"""The fields of each kind of record, with the names of their columns where these are other ones."""


Read = Callable[[Client], Callable[[int, int, Wanted], Awaitable[Sequence[object]]]]


def _add_list(name: str, title: str, read: Read, words: str) -> None:
    """Add the command that lists one kind of record of a bot; ``words`` are its help."""

    def list_records(
        bot_id: BotIdArgument,
        limit: LimitOption = 50,
        before: BeforeOption = None,
        user: UserOption = "owner",
        as_json: JsonOption = False,
    ) -> None:
        _show(title, read, user, bot_id, RecordFilter(before, limit), as_json=as_json)

    app.command(name, help=words)(list_records)


def _add_list_with_open(name: str, title: str, read: Read, words: str) -> None:
    """Add such a command whose records may be open or not."""

    def list_records(
        bot_id: BotIdArgument,
        only_open: OpenOption = False,
        limit: LimitOption = 50,
        before: BeforeOption = None,
        user: UserOption = "owner",
        as_json: JsonOption = False,
    ) -> None:
        _show(title, read, user, bot_id, RecordFilter(before, limit, only_open), as_json=as_json)

    app.command(name, help=words)(list_records)


_add_list(
    "history",
    "History",
    lambda client: client.bots.events,
    "Tell what happened to a bot, newest first.\n\nExample: atf bots history 1",
)
_add_list_with_open(
    "orders",
    "Orders",
    lambda client: client.bots.orders,
    "List a bot's orders, newest first.\n\nExample: atf bots orders 1 --open",
)
_add_list(
    "fills",
    "Fills",
    lambda client: client.bots.fills,
    "List the executions of a bot's orders, newest first.\n\nExample: atf bots fills 1 --limit 10",
)
_add_list_with_open(
    "positions",
    "Positions",
    lambda client: client.bots.positions,
    "List a bot's positions, newest first.\n\nExample: atf bots positions 1 --open",
)
_add_list_with_open(
    "trades",
    "Trades",
    lambda client: client.bots.trades,
    "List a bot's trades, each from flat to flat, newest first.\n\nExample: atf bots trades 1",
)


@app.command()
def equity(
    bot_id: BotIdArgument,
    limit: LimitOption = 50,
    before: Annotated[
        str | None, typer.Option("--before", help="Only before this time, such as 2026-12-31T09:00:00Z.")
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List what a bot was worth at its bars, newest first.

    Example: atf bots equity 1 --limit 20
    """
    until = instant_option(before, "--before")
    found = with_client(
        user, lambda client: client.bots.equity(client.user_id, bot_id, before=until, limit=limit)
    )
    _print("Equity", found, as_json=as_json)


def _show(title: str, read: Read, user: str, bot_id: int, wanted: RecordFilter, *, as_json: bool) -> None:
    found = with_client(user, lambda client: read(client)(client.user_id, bot_id, wanted))
    _print(title, found, as_json=as_json)


def _print(title: str, found: Sequence[object], *, as_json: bool) -> None:
    if as_json:
        print_json(list(found))
        return
    columns = [column.partition(":") for column in _COLUMNS[title].split()]
    names = [(name or field).replace("_", " ") for field, _, name in columns]
    print_table(title, names, [tuple(getattr(one, field) for field, _, _ in columns) for one in found])
