"""``atf trading``: the service that runs bots, and what a start would do about what they hold."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import typer

from atf.cli.output import JsonOption, print_json, print_table
from atf.cli.process import run_service
from atf.lifecycle import Progress, Service
from atf.settings import Settings, load_settings

app = typer.Typer()

UserId = Annotated[int | None, typer.Option("--user-id", help="Only this user's bots.")]


@app.command()
def start(
    user_id: UserId = None,
    poll_interval: Annotated[
        float | None, typer.Option("--poll-interval", min=0.1, help="Seconds between two looks for changes.")
    ] = None,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Start all enabled bots, whatever ran before a crash.")
    ] = False,
) -> None:
    """Run bots until the service is stopped.

    After a crash only those bots start that ran; after a clean stop all that nobody has stopped. Either way each
    bot's books are brought together with its venue before it trades.

    Example: atf trading start --user-id 1 --poll-interval 30
    """
    from atf.bootstrap.trading import TradingOptions, trading_process

    options = TradingOptions(user_id, poll_interval, resume_mode=not no_resume)

    def open_service(settings: Settings, progress: Progress) -> AbstractAsyncContextManager[Service]:
        return trading_process(settings, progress, options)

    run_service("trading", open_service)


@app.command()
def reconcile(
    user_id: UserId = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what a start would do, and do nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare what bots hold with what their venues say.

    With --plan it looks at bots that do not run; without, running bots compare now, and stop if they disagree.

    Example: atf trading reconcile --plan
    """
    from atf.bootstrap.trading_reconcile import reconcile_bots

    found = asyncio.run(reconcile_bots(load_settings(), user_id, only_plan=plan))
    if as_json:
        print_json(found)
        return
    rows = [
        (one.bot_id, one.name, one.symbol, one.finding, one.booked, one.at_venue, one.action) for one in found
    ]
    print_table("Positions", ("bot", "name", "symbol", "finding", "booked", "venue", "action"), rows)
