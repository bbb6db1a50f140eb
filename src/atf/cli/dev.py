"""``atf dev``: tools for who develops ATF or on ATF."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

app = typer.Typer()


@app.command("telegram-fake")
def telegram_fake(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where to listen on 127.0.0.1; 0 takes a free one.")
    ] = 8081,
    token: Annotated[str, typer.Option("--token", help="The bot's token.")] = "123456:fake-token",  # noqa: S107 - the fake's
    no_limits: Annotated[
        bool, typer.Option("--no-limits", help="Take any number of messages, unlike Telegram.")
    ] = False,
) -> None:
    """Run a Telegram on this machine, to chat with the bot in the browser, until Ctrl-C.

    It takes what Telegram takes and refuses what Telegram refuses; nothing leaves this machine.

    Example: atf dev telegram-fake
    """
    # The room `testing` stands above `cli`, as its harnesses load commands; no command loads it but this one, and
    # this one by name when it runs, so that the command line stays usable without what only tests need.
    fake = importlib.import_module("atf.testing.telegram_fake")
    fake.run(port, token, has_limits=not no_limits, say=typer.echo)
