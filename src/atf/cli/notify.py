"""``atf notify``: hand a message to a user."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.listing import instant_option
from atf.cli.output import JsonOption, UserOption, print_json
from atf.errors import InvalidInput
from atf.notifications.intake import NewNotification, Receipt
from atf.notifications.message import Attachment, Priority
from atf.security.limits import LARGEST_ATTACHMENTS


def notify(
    to: Annotated[str, typer.Argument(help="The user's name.", metavar="USER")],
    text: Annotated[str, typer.Argument(help="What to say.", metavar="TEXT")],
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", help="A channel; may be repeated. Default: as the user wishes."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="A title above the text.")] = None,
    kind: Annotated[
        str, typer.Option("--type", help="The type of message, which decides the template.")
    ] = "note",
    priority: Annotated[
        Priority, typer.Option("--priority", help="urgent passes quiet hours.")
    ] = Priority.NORMAL,
    key: Annotated[
        str | None, typer.Option("--key", help="A second message to the user with this key is none.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Not to be sent before, such as 2027-01-05T09:00Z.")
    ] = None,
    attach: Annotated[list[Path] | None, typer.Option("--attach", help="A file; may be repeated.")] = None,
    via_http: Annotated[
        bool, typer.Option("--http", help="By the notification service's HTTP in place of the database.")
    ] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Hand a message to a user; it is delivered by whichever notification service runs, now or later.

    Example: atf notify owner "The backup is done" --channel console
    """
    files = tuple(map(_attachment, attach or ()))
    scheduled_for = None if at is None else instant_option(at, "--at")

    async def work(client: Client) -> Receipt:
        is_own = to.strip().lower() == client.caller.name
        new = NewNotification(
            user_id=client.user_id if is_own else (await client.users.get_user(to)).id,
            message=text,
            title=title,
            notification_type=kind,
            priority=priority,
            channels=tuple(channel or ()),
            dedup_key=key,
            scheduled_for=scheduled_for,
            attachments=files,
        )
        return await (client.send_by_http(new) if via_http else client.notifier.send(new))

    receipt = with_client(user, work)
    if as_json:
        print_json({"status": "queued", "message_id": receipt.message_id, "duplicate": not receipt.is_new})
    elif receipt.is_new:
        typer.echo(f"queued: message {receipt.message_id}")
    else:
        typer.echo(f"nothing new: message {receipt.message_id} has this key")


def _attachment(path: Path) -> Attachment:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_ATTACHMENTS + 1)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror}", field="--attach") from exc
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Attachment(path.name, media_type, content)
