"""``atf bots versions``, ``diff`` and ``rollback``: what a configuration was, and is again."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli.bot_arguments import BeforeOption, BotIdArgument
from atf.cli.bot_input import NoteOption
from atf.cli.client import with_client
from atf.cli.output import JsonOption, LimitOption, UserOption, print_json, print_table, shown
from atf.trading.bot import Bot
from atf.trading.bot_records import RecordFilter
from atf.trading.config_changes import Difference

app = typer.Typer()


@app.command()
def versions(
    bot_id: BotIdArgument,
    limit: LimitOption = 50,
    before: BeforeOption = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List the versions of a bot's configuration: when, by whom, why.

    Example: atf bots versions 1
    """
    wanted = RecordFilter(before, limit)
    found = with_client(user, lambda client: client.bots.versions(client.user_id, bot_id, wanted))
    if as_json:
        print_json(list(found))
        return
    rows = [(one.version, one.changed_at, one.changed_by, one.note) for one in found]
    print_table("Versions", ("version", "stored", "by", "note"), rows)


@app.command()
def diff(
    bot_id: BotIdArgument,
    before: Annotated[
        int | None, typer.Argument(help="A version. Default: the one before the newest.", metavar="FROM")
    ] = None,
    after: Annotated[int | None, typer.Argument(help="Another one. Default: the newest.", metavar="TO")] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Say what differs between two versions, by path.

    Example: atf bots diff 1 2 5
    """

    async def work(client: Client) -> list[Difference]:
        newest = (await client.bots.get(client.user_id, bot_id)).version
        one = max(1, newest - 1) if before is None else before
        return await client.bots.diff(client.user_id, bot_id, one, newest if after is None else after)

    found = with_client(user, work)
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("nothing differs")
        return
    rows = [(one.path, one.kind, shown(one.before), shown(one.after)) for one in found]
    print_table("Differences", ("path", "what", "before", "after"), rows)


@app.command()
def rollback(
    bot_id: BotIdArgument,
    version: Annotated[int, typer.Argument(help="The version that comes back.", metavar="VERSION")],
    note: NoteOption = "",
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Bring an old version's configuration back, as a new version.

    Example: atf bots rollback 1 2
    """

    async def work(client: Client) -> Bot:
        return await client.bots.rollback(client.user_id, bot_id, version, note=note)

    bot = with_client(user, work)
    if as_json:
        print_json(bot)
    else:
        typer.echo(f"bot {bot.id} has version {bot.version} now, which says what version {version} says")
