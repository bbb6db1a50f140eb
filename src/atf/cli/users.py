"""``atf users``: who may use this installation, as what, how much, and how they get in."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from atf.bootstrap.accounts import link_sentence
from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_json, print_table
from atf.errors import InvalidInput, shown
from atf.security.one_time import Link, LinkPurpose
from atf.security.password import checked_password
from atf.security.user import Quotas, User, checked_role
from atf.settings import load_settings

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="The user's name.")]
RoleOption = Annotated[str, typer.Option("--role", help="admin, trader or viewer.")]
Limit = Annotated[str | None, typer.Option(help="A number; 0: any; default: what the settings say.")]
_DEFAULT: Final = "default"


@app.command()
def add(name: Name, role: RoleOption = "viewer", user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Add a user, who may log in once there is a password or a linked account.

    Example: atf users add ann --role trader
    """
    wanted = checked_role(role)
    added = with_client(user, lambda client: client.users.add_user(name, wanted))
    _tell(added, f"user {added.name} added, a {added.role}", as_json=as_json)


@app.command("list")
def list_users(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """List the users.

    Example: atf users list
    """
    found = with_client(user, lambda client: client.users.list_users())
    if as_json:
        print_json(found)
        return
    columns = (
        "id",
        "name",
        "role",
        "status",
        "schedules",
        "alerts",
        "runs a day",
        "CPU s",
        "MiB",
        "bots",
        "since",
    )
    print_table("Users", columns, [_row(one) for one in found])


@app.command()
def role(
    name: Name,
    role: Annotated[str, typer.Argument(help="admin, trader or viewer.")],
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Give a user another role; it counts from the next thing that the user does.

    Example: atf users role ann viewer
    """
    wanted = checked_role(role)
    changed = with_client(user, lambda client: client.users.set_role(name, wanted))
    _tell(changed, f"user {changed.name} is a {changed.role} now", as_json=as_json)


@app.command()
def disable(name: Name, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Let a user do nothing any more: waiting runs are cancelled, schedules rest, nothing is deleted.

    Example: atf users disable ann
    """
    changed = with_client(user, lambda client: client.users.disable_user(name))
    _tell(
        changed, f"user {changed.name} is disabled; let in again with: atf users approve {name}", as_json=as_json
    )


@app.command()
def approve(name: Name, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Let a user in who asked for it, or who was disabled; schedules fire from now on.

    Example: atf users approve ann
    """
    changed = with_client(user, lambda client: client.users.approve_user(name))
    _tell(changed, f"user {changed.name} is active", as_json=as_json)


@app.command()
def limits(
    name: Name,
    schedules: Limit = None,
    alerts: Limit = None,
    runs_per_day: Limit = None,
    cpu_seconds: Limit = None,
    memory_mib: Limit = None,
    bots: Limit = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Say how much a user may have; what is not named stays as it is.

    Example: atf users limits ann --alerts 200 --runs-per-day 5000 --memory-mib default
    """
    given = {
        "schedules": schedules,
        "alerts": alerts,
        "runs_per_day": runs_per_day,
        "cpu_seconds": cpu_seconds,
        "memory_mib": memory_mib,
        "bots": bots,
    }
    wanted = {field: _limit(field, text) for field, text in given.items() if text is not None}
    changed = with_client(user, lambda client: client.users.change_limits(name, wanted))
    _tell(changed, f"limits of {changed.name}: {_words(changed.limits)}", as_json=as_json)


@app.command()
def link(
    name: Name,
    purpose: Annotated[
        LinkPurpose | None, typer.Option("--purpose", help="setup or reset; without it the one that fits.")
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Make a link by which a user sets a password, once; the last such link ends.

    Whoever has the link sets the password: give it to nobody else.

    Example: atf users link ann
    """
    settings = load_settings()
    if purpose is LinkPurpose.LINK:
        raise InvalidInput("must be setup or reset", field="--purpose")

    async def work(client: Client) -> Link:
        found = await client.users.get_user(name)
        return await client.credentials.make_password_link(found.id, purpose)

    made = with_client(user, work)
    if as_json:
        url = made.url(settings.public_url)
        print_json({"user": made.user, "purpose": made.purpose, "url": url, "expires_at": made.expires_at})
    else:
        typer.echo(link_sentence(made, settings))


@app.command()
def password(name: Name, user: UserOption = "owner") -> None:
    """Set a user's password: asked for twice, or the first line of standard input; all the user's sessions end.

    Example: atf users password ann
    """

    async def work(client: Client) -> User:
        found = await client.users.get_user(name)
        await client.credentials.replace_password(found.id, wanted)
        return found

    wanted = checked_password(_given_password())
    typer.echo(f"the password of {with_client(user, work).name} is set")


def _given_password() -> str:
    """Return what is typed without being shown, or a line that is piped; everybody could read an argument."""
    if not sys.stdin.isatty():
        try:
            return sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise InvalidInput("must be text in UTF-8", field="password") from None
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed


def _limit(field: str, text: str) -> int | None:
    if text == _DEFAULT:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise InvalidInput(f"must be a number from 0 on or {_DEFAULT}, got {shown(text)}", field=field)
    return int(text)


def _words(limits: Quotas) -> str:
    parts = {"schedules": limits.schedules, "alerts": limits.alerts, "runs a day": limits.runs_per_day}
    own = {"CPU seconds": limits.cpu_seconds, "MiB of memory": limits.memory_mib, "bots": limits.bots}
    said = [f"{_amount(value)} {what}" for what, value in {**parts, **own}.items() if value is not None]
    return ", ".join(said) or "what the settings say"


def _amount(value: int | None) -> str:
    return "-" if value is None else "any" if value == 0 else str(value)


def _row(user: User) -> tuple[object, ...]:
    own = user.limits
    amounts = (own.schedules, own.alerts, own.runs_per_day, own.cpu_seconds, own.memory_mib, own.bots)
    return (user.id, user.name, user.role, user.status, *map(_amount, amounts), user.created_at)


def _tell(user: User, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(user)
    else:
        typer.echo(sentence)
