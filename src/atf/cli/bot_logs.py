"""``atf bots logs``: what a bot's strategy has printed and logged on this machine."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from atf.bootstrap.client import Client
from atf.cli.bot_arguments import BotIdArgument
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_json
from atf.errors import InvalidInput, NotFound
from atf.trading.bot_log import log_path

app = typer.Typer()
_EVERY_SECONDS: Final = 0.5
_MOST_LINES: Final = 10_000
_LONGEST_LINE: Final = 64 * 1024


@app.command()
def logs(
    bot_id: BotIdArgument,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, max=_MOST_LINES, help="The last so many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Print what a bot's strategy has printed and logged on this machine.

    Example: atf bots logs 1 -n 20 --follow
    """
    if follow and as_json:
        raise InvalidInput("what goes on has no end, as JSON must have", field="--follow")

    async def work(client: Client) -> Path:
        bot = await client.bots.get(client.user_id, bot_id)
        return log_path(client.settings.home, bot.id)

    path = with_client(user, work)
    lines, end = _last_lines(path, count)
    if as_json:
        print_json(lines)
        return
    for line in lines:
        typer.echo(line)
    if follow:
        for line in _following(path, end):
            sys.stdout.write(line)
            sys.stdout.flush()


def _last_lines(path: Path, count: int) -> tuple[list[str], int]:
    """Return the last lines, and how far the file was read. Errors: NotFound; InvalidInput."""
    try:
        with path.open("rb") as file:
            found = deque(iter(lambda: file.readline(_LONGEST_LINE), b""), count)
            return [_shown(line).rstrip("\n") for line in found], file.tell()
    except FileNotFoundError:
        raise NotFound(
            "there is no log of this bot here; it is written where the bot runs, once it has"
        ) from None
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror}", field="ID") from exc


def _following(path: Path, end: int) -> Iterator[str]:
    """Yield what is added to a file; one that has become shorter was begun anew."""
    while True:
        try:
            with path.open("rb") as file:
                end = end if file.seek(0, 2) >= end else 0
                file.seek(end)
                added, end = file.read(), file.tell()
        except FileNotFoundError:  # between the end of one file and the beginning of the next
            added, end = b"", 0
        if added:
            yield _shown(added)
        time.sleep(_EVERY_SECONDS)


def _shown(text: bytes) -> str:
    """Return a text without what would move the cursor or colour the terminal."""
    letters = text.decode("utf-8", "replace")
    return "".join(one if one.isprintable() or one in "\n\t" else " " for one in letters)
