"""``atf notifications settings``: how a user is told: language, zone, digest, channels, addresses."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_fields, print_json
from atf.notifications.preferences_service import NotificationSettings, known_route

app = typer.Typer()
Channel = Annotated[str, typer.Argument(help="Channel, such as telegram or sms.")]


@app.command()
def show(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show how a user is told, where the user is reached, and where not any more.

    Example: atf notifications settings show
    """
    _tell(with_client(user, _settings), as_json=as_json)


@app.command("set")
def set_(
    language: Annotated[str | None, typer.Option("--language", help="Such as en or de.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", "--tz", help="An IANA name.")] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", help="Minutes between digests of what is not urgent, or off.")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option("--fallback", help="Channel for what another cannot deliver, or none.")
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Change what is named; the rest stays.

    Example: atf notifications settings set --language de --timezone Europe/Berlin --digest 60
    """

    async def work(client: Client) -> NotificationSettings:
        await client.preferences.change(
            client.user_id, language=language, timezone=timezone, digest=digest, fallback=fallback
        )
        return await _settings(client)

    _tell(with_client(user, work), as_json=as_json)


@app.command()
def route(
    routes: Annotated[
        list[str] | None,
        typer.Argument(help="TYPE:CHANNEL=on or off; * is every type.", metavar="TYPE:CHANNEL=on|off"),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget all routes first.")] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Say which types of messages go to which channels; the inbox has them all, always.

    Example: atf notifications settings route 'report:email=on' '*:telegram=off'
    """

    for one in routes or ():
        known_route(one)  # what is wrong with one is said before another is stored

    async def work(client: Client) -> NotificationSettings:
        if clear:
            await client.preferences.clear_routes(client.user_id)
        for one in routes or ():
            await client.preferences.set_route(client.user_id, one)
        return await _settings(client)

    _tell(with_client(user, work), as_json=as_json)


@app.command()
def address(
    channel: Channel,
    where: Annotated[str | None, typer.Argument(help="The address; without one it is forgotten.")] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Say where a user is reached by sms or webhook. A webhook's signing key is the secret notify.webhook.

    Example: atf notifications settings address sms +491701234567
    """

    async def work(client: Client) -> NotificationSettings:
        if where is None:
            await client.preferences.clear_address(client.user_id, channel)
        else:
            await client.preferences.set_address(client.user_id, channel, where)
        return await _settings(client)

    _tell(with_client(user, work), as_json=as_json)


@app.command("test")
def try_channel(channel: Channel, user: UserOption = "owner") -> None:
    """Send a message to try a channel with; `atf notifications list` shows what became of it.

    Example: atf notifications settings test telegram
    """
    with_client(user, lambda client: client.preferences.send_test(client.user_id, channel))
    typer.echo(f"a test message to {channel} is queued")


async def _settings(client: Client) -> NotificationSettings:
    return await client.preferences.settings(client.user_id)


def _tell(found: NotificationSettings, *, as_json: bool) -> None:
    wishes = found.preferences
    minutes = None if wishes.digest is None else int(wishes.digest.total_seconds()) // 60
    routes = {f"{name}:{channel}": is_on for (name, channel), is_on in sorted(wishes.routes.items())}
    if as_json:
        print_json(
            {
                "language": wishes.language,
                "timezone": wishes.timezone,
                "digest_minutes": minutes,
                "fallback": wishes.fallback,
                "routes": routes,
                "addresses": list(found.addresses),
                "unreachable": list(found.unreachable),
            }
        )
        return
    print_fields(
        {
            "language": wishes.language,
            "timezone": wishes.timezone,
            "digest": "off" if minutes is None else f"every {minutes} minutes",
            "fallback": wishes.fallback or "inbox",
            **{f"route {name}": "on" if is_on else "off" for name, is_on in routes.items()},
            **{f"address {one.channel}": one.address for one in found.addresses},
            **{f"unreachable {one.channel}": one.reason for one in found.unreachable},
        }
    )
