"""``atf notifications``: what was told to whom, when nobody is to be disturbed, and the process that tells."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli import quiet_hours
from atf.cli.client import with_client
from atf.cli.output import JsonOption, LimitOption, UserOption, print_json, print_table
from atf.cli.process import run_service
from atf.notifications.message import DeliveryRecord, DeliveryStatus

app = typer.Typer()
app.add_typer(
    quiet_hours.app,
    name="quiet-hours",
    help="Show, set and clear the hours in which only what is urgent goes out.",
    no_args_is_help=True,
)


@app.command("list")
def list_deliveries(
    status: Annotated[DeliveryStatus | None, typer.Option("--status", help="Only these deliveries.")] = None,
    channel: Annotated[str | None, typer.Option("--channel", help="Only this channel.")] = None,
    actions: Annotated[
        bool, typer.Option("--actions", help="What alerts made happen, in place of messages to you.")
    ] = False,
    limit: LimitOption = 50,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List deliveries, newest first: one a message and channel.

    Actions of alerts are listed with --actions, or with --channel bot or webhook.

    Example: atf notifications list --channel inbox --limit 5
    """

    async def work(client: Client) -> list[DeliveryRecord]:
        return list(await client.deliveries(status=status, channel=channel, limit=limit, actions=actions))

    deliveries = with_client(user, work)
    if as_json:
        print_json(deliveries)
        return
    columns = ("created", "channel", "status", "held until", "tries", "title", "text", "error")
    print_table("Deliveries", columns, [_row(one) for one in deliveries])


@app.command()
def start() -> None:
    """Run the notification service until it is stopped.

    Example: atf notifications start
    """
    from atf.bootstrap.notifications import notifications_process

    run_service("notifications", notifications_process)


def _row(one: DeliveryRecord) -> tuple[object, ...]:
    return one.created_at, one.channel, one.status, one.held_until, one.attempts, one.title, one.body, one.error
