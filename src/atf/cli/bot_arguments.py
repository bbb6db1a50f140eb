"""How commands name a bot, and what of its rows they show."""

from __future__ import annotations

from typing import Annotated

import typer

BotIdArgument = Annotated[
    int, typer.Argument(help="The bot's number, as `atf bots list` shows it.", metavar="ID")
]
BeforeOption = Annotated[
    int | None, typer.Option("--before", help="Only older ones than this number: the next page.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Only those that are open.")]
