"""How lists are shown: once or redrawn, as a table or as JSON, sorted by what was asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, TypeVar

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.errors import InvalidInput

T = TypeVar("T")
WatchOption = Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")]
_EVERY_SECONDS: Final = 2.0
_FIRST_YEAR: Final = 1678
_LAST_YEAR: Final = 2261
"""Nanoseconds since 1970, as bars have their times, do not reach further in 64 bits."""
_CLEAR: Final = "\x1b[2J\x1b[H"


def show_list(
    user: str, fetch: Callable[[Client], Awaitable[T]], draw: Callable[[T], None], *, watch: bool
) -> None:
    """Fetch and draw, once or until interrupted; the database stays open meanwhile."""

    async def work(client: Client) -> None:
        while True:
            found = await fetch(client)
            if watch and sys.stdout.isatty():
                sys.stdout.write(_CLEAR)
            draw(found)
            sys.stdout.flush()
            if not watch:
                return
            await asyncio.sleep(_EVERY_SECONDS)

    with_client(user, work)


def sorted_by(items: Sequence[T], field: str | None, allowed: Sequence[str]) -> list[T]:
    """Return the items by a field's value, smallest first and those without one last.

    Errors: InvalidInput that names the fields there are.
    """
    if field is None:
        return list(items)
    if field not in allowed:
        raise InvalidInput(f"'{field}' is not one of {', '.join(allowed)}", field="--sort")

    def key(item: T) -> tuple[bool, Any]:
        value = getattr(item, field)
        return value is None, 0 if value is None else value

    return sorted(items, key=key)


def instant_option(text: str | None, name: str) -> datetime | None:
    """Return an instant as ISO 8601 spells it; one without a zone is UTC. Errors: InvalidInput."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"must be a time such as 2026-12-31T09:00:00Z, got '{text}'", field=name) from None
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise InvalidInput(f"must be in the years {_FIRST_YEAR} to {_LAST_YEAR}, got '{text}'", field=name)
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def span_option(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the instants of --since and --until. Errors: InvalidInput, also if the first is not earlier."""
    begin, end = instant_option(since, "--since"), instant_option(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise InvalidInput("must be earlier than --until", field="--since")
    return begin, end


def day_option(text: str | None, name: str) -> date | None:
    """Return a day as ISO 8601 spells it. Errors: InvalidInput."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"must be a day such as 2024-01-31, got '{text}'", field=name) from None
