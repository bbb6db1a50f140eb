"""``atf secrets``: broker keys, bot tokens, passwords. They are stored sealed, and never shown again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.bootstrap.key_rotation import rotate_master_key
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_json, print_table
from atf.errors import InvalidInput
from atf.settings import load_settings

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="The secret's name, such as binance.api-key.")]
Platform = Annotated[bool, typer.Option("--platform", help="One of the platform's own, not of the user's.")]
KeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File with a master key, chmod 600.")]


@app.command("set")
def set_secret(
    name: Name,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    platform: Platform = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Store a secret, in place of one of this name; the value is asked for, or read from standard input.

    Example: atf secrets set binance.api-key
    """
    if more:
        raise InvalidInput(
            "is never an argument, as the shell's history and the list of processes would show it: leave it out,"
            " and it is asked for, or pipe it in",
            field="value",
        )
    value = _read_value(name)

    async def work(client: Client) -> object:
        return await client.secrets.set_secret(_owner(client, platform=platform), name, value)

    stored = with_client(user, work)
    if as_json:
        print_json(stored)
    else:
        typer.echo(f"secret {name} stored")


@app.command("list")
def list_secrets(platform: Platform = False, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """List the names of secrets, and when they were stored.

    Example: atf secrets list
    """
    found = with_client(user, lambda client: client.secrets.list_secrets(_owner(client, platform=platform)))
    if as_json:
        print_json(found)
        return
    rows = [(one.name, one.created_at, one.updated_at) for one in found]
    print_table("Secrets", ("name", "stored", "changed"), rows)


@app.command()
def delete(name: Name, platform: Platform = False, user: UserOption = "owner") -> None:
    """Forget a secret.

    Example: atf secrets delete binance.api-key
    """
    with_client(user, lambda client: client.secrets.delete_secret(_owner(client, platform=platform), name))
    typer.echo(f"secret {name} deleted")


@app.command()
def rotate(
    old_key: KeyFile = None, new_key: KeyFile = None, user: UserOption = "owner", as_json: JsonOption = False
) -> None:
    """Put another master key in place of the old one: all or nothing. Without files: that of ATF's own database.

    Example: atf secrets rotate --new-key /root/new.key
    """
    done = asyncio.run(rotate_master_key(load_settings(), user, old=old_key, new=new_key))
    if as_json:
        print_json(done)
        return
    typer.echo(f"master key {done.new_id} in place of {done.old_id}; keys wrapped anew: {done.keys}")
    if done.kept is not None:
        typer.echo(f"the old one is kept in {done.kept}: copies of the database from before need it")
    elif new_key is not None:
        typer.echo("give it to ATF now, and start the services again")


def _owner(client: Client, *, platform: bool) -> int | None:
    return None if platform else client.user_id


def _read_value(name: str) -> str:
    """Ask a person, who does not see it; read a pipe to its end, without the line's end."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"value of {name}", hide_input=True, confirmation_prompt="again"))
    try:
        value = sys.stdin.read()
    except UnicodeDecodeError as exc:
        raise InvalidInput("is not UTF-8 text", field="value") from exc
    return value.removesuffix("\n").removesuffix("\r")
