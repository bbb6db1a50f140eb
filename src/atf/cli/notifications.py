"""``atf notifications``: what was told to whom, when nobody is to be disturbed, and the process that tells."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli import message_templates, notification_settings, quiet_hours
from atf.cli.client import with_client
from atf.cli.listing import span_option
from atf.cli.output import JsonOption, LimitOption, UserOption, print_json, print_table
from atf.cli.process import run_service
from atf.errors import InvalidInput
from atf.notifications.history import ChannelStatistics, DeliveryFilter
from atf.notifications.message import DeliveryRecord, DeliveryStatus

app = typer.Typer()
app.add_typer(
    quiet_hours.app,
    name="quiet-hours",
    help="Show, set and clear the hours in which only what is urgent goes out.",
    no_args_is_help=True,
)
app.add_typer(
    notification_settings.app,
    name="settings",
    help="Show and change how a user is told: language, digest, channels, addresses.",
    no_args_is_help=True,
)
app.add_typer(
    message_templates.app,
    name="templates",
    help="List, preview and check the templates of messages.",
    no_args_is_help=True,
)


@app.command("list")
def list_deliveries(
    status: Annotated[DeliveryStatus | None, typer.Option("--status", help="Only these deliveries.")] = None,
    channel: Annotated[str | None, typer.Option("--channel", help="Only this channel.")] = None,
    actions: Annotated[
        bool, typer.Option("--actions", help="What alerts made happen, in place of messages to you.")
    ] = False,
    kind: Annotated[str | None, typer.Option("--type", help="Only this type of messages.")] = None,
    search: Annotated[str | None, typer.Option("--search", help="Only with this in title or text.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only those written then or later.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only those written before.")] = None,
    limit: LimitOption = 50,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List deliveries, newest first: one a message and channel.

    Actions of alerts are listed with --actions, or with --channel bot or webhook.

    Example: atf notifications list --channel inbox --limit 5
    """

    span = span_option(since, until)

    async def work(client: Client) -> list[DeliveryRecord]:
        wanted = DeliveryFilter(
            client.user_id, status, channel, kind, search, *span, actions=actions, limit=limit
        )
        return list(await client.deliveries.list_deliveries(wanted))

    deliveries = with_client(user, work)
    if as_json:
        print_json(deliveries)
        return
    columns = ("id", "created", "channel", "status", "held until", "tries", "title", "text", "error")
    print_table("Deliveries", columns, [_row(one) for one in deliveries])


@app.command()
def stats(
    hours: Annotated[int, typer.Option("--hours", min=1, max=8760, help="What went within so many hours.")] = 24,
    everybody: Annotated[bool, typer.Option("--everybody", help="Of all users, for administrators.")] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Count by channel what was sent and failed, how long it took, and what waits now.

    Example: atf notifications stats --hours 168
    """

    async def work(client: Client) -> list[ChannelStatistics]:
        return list(await client.deliveries.statistics(None if everybody else client.user_id, hours))

    found = with_client(user, work)
    if as_json:
        print_json(found)
        return
    columns = (
        "channel",
        "sent",
        "failed",
        "dead",
        "median s",
        "p95 s",
        "waiting",
        "held",
        "oldest s",
        "paused until",
    )
    print_table("Channels", columns, [_figures(one) for one in found])


@app.command()
def requeue(
    delivery: Annotated[int | None, typer.Argument(help="A delivery's id.", metavar="ID")] = None,
    channel: Annotated[str | None, typer.Option("--channel", help="All that failed on this channel.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
    user: UserOption = "owner",
) -> None:
    """Send once more what FAILED or is DEAD; actions of alerts only one by one.

    Example: atf notifications requeue --channel email
    """
    if sum((delivery is not None, channel is not None, everything)) != 1:
        raise InvalidInput("name one of ID, --channel and --all", field="requeue")

    async def work(client: Client) -> int:
        return await client.deliveries.requeue(client.user_id, delivery_id=delivery, channel=channel)

    typer.echo(f"{with_client(user, work)} deliveries are queued again")


@app.command()
def start() -> None:
    """Run the notification service until it is stopped.

    Example: atf notifications start
    """
    from atf.bootstrap.notifications import notifications_process

    run_service("notifications", notifications_process)


def _figures(one: ChannelStatistics) -> tuple[object, ...]:
    return (
        one.channel,
        one.sent,
        one.failed,
        one.dead,
        _seconds(one.median_seconds),
        _seconds(one.p95_seconds),
        one.pending,
        one.held,
        _seconds(one.oldest_seconds),
        one.paused_until,
    )


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _row(one: DeliveryRecord) -> tuple[object, ...]:
    return (
        one.id,
        one.created_at,
        one.channel,
        one.status,
        one.held_until,
        one.attempts,
        one.title,
        one.body,
        one.error,
    )
