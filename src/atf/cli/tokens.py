"""``atf tokens``: what programs and services prove themselves with."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_json, print_table, shown
from atf.security.tokens_service import USUAL_DAYS, NewTokenRecord, TokenRecord

app = typer.Typer()

ServiceOption = Annotated[bool, typer.Option("--service", help="Of services instead of a user's own.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is for, such as the program that gets it.")],
    scopes: Annotated[
        str,
        typer.Option(help="With commas: view, edit, act, secrets, administer; of services: notify."),
    ],
    days: Annotated[int, typer.Option("--days", help="How long it holds.")] = USUAL_DAYS,
    service: ServiceOption = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, this once: stored is its hash alone.

    A token permits its scopes, and nothing that its user may not.

    Example: atf tokens add notebook --scopes view,edit --days 30
    """

    async def work(client: Client) -> NewTokenRecord:
        wanted = scopes.split(",")
        if service:
            return await client.tokens.add_service_token(name, wanted, days)
        return await client.tokens.add_token(client.user_id, name, wanted, days)

    made = with_client(user, work)
    if as_json:
        print_json({"token": made.token.text, "record": made.record})
        return
    typer.echo(made.token.text)
    typer.echo(f"keep it: it is not shown again; it holds until {shown(made.record.expires_at)}", err=True)


@app.command("list")
def list_tokens(service: ServiceOption = False, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """List tokens, the newest first, by how they begin.

    Example: atf tokens list
    """

    async def work(client: Client) -> list[TokenRecord]:
        if service:
            return [*await client.tokens.list_service_tokens()]
        return [*await client.tokens.list_tokens(client.user_id)]

    found = with_client(user, work)
    if as_json:
        print_json(found)
        return
    columns = ("token", "name", "scopes", "made", "holds until", "last used", "revoked")
    print_table("Tokens", columns, [_row(record) for record in found])


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="How it begins, or its id.")],
    service: ServiceOption = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """End a token for good; it is refused from its next use on.

    Example: atf tokens revoke atf_api_0123456789abcdef
    """

    async def work(client: Client) -> TokenRecord:
        if service:
            return await client.tokens.revoke_service_token(token)
        return await client.tokens.revoke_token(client.user_id, token)

    ended = with_client(user, work)
    if as_json:
        print_json(ended)
    else:
        typer.echo(f"token {ended.shown} ({ended.name}) is revoked")


def _row(record: TokenRecord) -> tuple[object, ...]:
    times = (record.created_at, record.expires_at, record.last_used_at, record.revoked_at)
    return (record.shown, record.name, ", ".join(record.scopes), *times)
