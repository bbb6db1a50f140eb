"""``atf bots start``, ``stop`` and the other words: what a person wishes of a bot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli.bot_arguments import BotIdArgument
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_json
from atf.trading.bot_control import Act

app = typer.Typer()


@app.command()
def start(bot_id: BotIdArgument, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Wish that it runs; the trading service starts it. One that has failed gets another three tries.

    Example: atf bots start 1
    """

    async def work(client: Client) -> tuple[Act, bool]:
        act = await client.bots.start(client.user_id, bot_id)
        return act, any(one.is_alive and "trading" in one.types for one in await client.jobs.list_workers())

    act, is_served = with_client(user, work)
    _tell(act, as_json=as_json)
    if not is_served:
        typer.echo("note: no trading service runs here now; one starts with: atf up", err=True)


@app.command()
def stop(bot_id: BotIdArgument, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Wish that it does not run, also after restarts and crashes, until you start it.

    Example: atf bots stop 1
    """
    _do(user, lambda client: client.bots.stop(client.user_id, bot_id), as_json=as_json)


@app.command()
def restart(
    bot_id: BotIdArgument,
    key: Annotated[
        str | None, typer.Option("--key", help="What was asked for with this key before is not done again.")
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Let one that runs begin anew, with its newest configuration.

    Example: atf bots restart 1
    """
    asked = with_client(user, lambda client: client.bots.restart(client.user_id, bot_id, key))
    if as_json:
        print_json(asked)
    elif asked.accepted_at is None:
        typer.echo(f"bot {bot_id} is to restart")
    else:
        typer.echo(f"bot {bot_id} was told that already: {asked.outcome}")


@app.command()
def pause(bot_id: BotIdArgument, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Let it only close what it holds; it goes on running.

    Example: atf bots pause 1
    """
    _do(user, lambda client: client.bots.pause(client.user_id, bot_id), as_json=as_json)


@app.command()
def resume(bot_id: BotIdArgument, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Let it open positions again, also one that was halted: look at why before.

    Example: atf bots resume 1
    """
    _do(user, lambda client: client.bots.resume(client.user_id, bot_id), as_json=as_json)


@app.command()
def enable(bot_id: BotIdArgument, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Allow that it is started; it does not run by that.

    Example: atf bots enable 1
    """
    _do(user, lambda client: client.bots.enable(client.user_id, bot_id), as_json=as_json)


@app.command()
def disable(bot_id: BotIdArgument, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """See that nothing starts it until it is enabled; stop it first.

    Example: atf bots disable 1
    """
    _do(user, lambda client: client.bots.disable(client.user_id, bot_id), as_json=as_json)


@app.command()
def rename(
    bot_id: BotIdArgument,
    name: Annotated[str, typer.Argument(help="What you call it from now on.", metavar="NAME")],
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Call it otherwise; its number stays.

    Example: atf bots rename 1 crosser
    """
    _do(user, lambda client: client.bots.rename(client.user_id, bot_id, name), as_json=as_json)


@app.command()
def delete(
    bot_id: BotIdArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Though it holds something: nobody looks after that any more.")
    ] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Delete a bot that is stopped and holds nothing; what it did stays on record.

    Example: atf bots delete 1
    """
    deleted = with_client(user, lambda client: client.bots.delete(client.user_id, bot_id, force=force))
    if as_json:
        print_json(deleted)
    else:
        typer.echo(f"bot {bot_id} deleted: {deleted.name}")


def _do(user: str, word: Callable[[Client], Awaitable[Act]], *, as_json: bool) -> None:
    _tell(with_client(user, word), as_json=as_json)


def _tell(act: Act, *, as_json: bool) -> None:
    if as_json:
        print_json(act.bot)
    else:
        typer.echo(f"bot {act.bot.id} {act.text}")
