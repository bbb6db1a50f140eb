"""``atf notifications quiet-hours``: when a user is not to be disturbed."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_fields, print_json, shown
from atf.notifications.quiet_hours import WEEK, QuietHours, QuietStatus, in_order, parse_days, parse_quiet_hours

app = typer.Typer()

_CLOCK: Final = "%H:%M"


@app.command()
def show(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show the quiet hours, whether it is quiet now, and how many deliveries wait for the end.

    Example: atf notifications quiet-hours show
    """
    _tell(with_client(user, _status), as_json=as_json)


@app.command("set")
def set_hours(
    begins: Annotated[str, typer.Argument(help="Local time such as 22:00.", metavar="FROM")],
    ends: Annotated[
        str, typer.Argument(help="Local time such as 07:00, on the next day if not later.", metavar="UNTIL")
    ],
    timezone: Annotated[str, typer.Option("--timezone", "--tz", help="Whose clock: an IANA name.")],
    days: Annotated[
        str, typer.Option("--days", help="On which a night begins, such as mon-thu,sun. Default: all.")
    ] = "mon-sun",
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Hold what is not urgent from one time of day until another; what is held already is decided anew.

    Example: atf notifications quiet-hours set 22:00 07:00 --timezone Europe/Berlin
    """
    hours = parse_quiet_hours(begins, ends, timezone, parse_days(days))

    async def work(client: Client) -> QuietStatus:
        await client.quiet_hours.set(client.user_id, hours)
        return await _status(client)

    _tell(with_client(user, work), as_json=as_json)


@app.command()
def clear(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Have no quiet hours any more; what they hold goes out now.

    Example: atf notifications quiet-hours clear
    """

    async def work(client: Client) -> QuietStatus:
        await client.quiet_hours.clear(client.user_id)
        return await _status(client)

    _tell(with_client(user, work), as_json=as_json)


async def _status(client: Client) -> QuietStatus:
    return await client.quiet_hours.status(client.user_id)


def _tell(status: QuietStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "quiet_hours": None if status.hours is None else _document(status.hours),
                "quiet_until": status.quiet_until,
                "held": status.held,
            }
        )
        return
    if status.hours is None:
        typer.echo("no quiet hours")
        return
    print_fields(
        {
            "quiet hours": _in_words(status.hours),
            "quiet now": "no" if status.quiet_until is None else f"until {shown(status.quiet_until)}",
            "deliveries held": status.held,
        }
    )


def _document(hours: QuietHours) -> dict[str, Any]:
    return {
        "from": f"{hours.begins:{_CLOCK}}",
        "until": f"{hours.ends:{_CLOCK}}",
        "timezone": hours.timezone,
        "days": in_order(hours.days),
    }


def _in_words(hours: QuietHours) -> str:
    days = "every day" if len(hours.days) == len(WEEK) else ", ".join(in_order(hours.days))
    return f"{hours.begins:{_CLOCK}} to {hours.ends:{_CLOCK}} {hours.timezone}, beginning {days}"
