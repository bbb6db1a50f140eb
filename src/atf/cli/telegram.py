"""``atf telegram``: the bot, and the process in which it lives with the notification service."""

from __future__ import annotations

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_json
from atf.cli.process import run_service
from atf.security.one_time import Link

app = typer.Typer()


@app.command()
def link(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Make what links a Telegram account to you: send it to the bot within 15 minutes.

    Example: atf telegram link --user ann
    """

    async def work(client: Client) -> Link:
        return await client.credentials.make_account_link(client.user_id)

    made = with_client(user, work)
    if as_json:
        print_json({"command": f"/start {made.token.text}", "expires_at": made.expires_at})
        return
    typer.echo(f"send this to the bot, once, until {made.expires_at:%Y-%m-%d %H:%M}Z:\n/start {made.token.text}")


@app.command()
def start() -> None:
    """Run the bot and the notification service until they are stopped.

    Without a token the bot is shown as not configured, and everything else works. A token comes from @BotFather:
    atf secrets set telegram.bot-token --platform

    Example: atf telegram start
    """
    from atf.bootstrap.telegram import telegram_process

    run_service("telegram", telegram_process)
