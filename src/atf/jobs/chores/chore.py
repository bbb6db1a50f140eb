"""What a chore is: a small duty with its own times. Another one is a file here and a line in the bootstrap."""

from __future__ import annotations

from typing import Protocol


class Chore(Protocol):
    """A background duty that is safe on all nodes at once; one that fails is logged and comes round again."""

    @property
    def name(self) -> str:
        """How logs and the timer call it."""
        ...

    @property
    def cron(self) -> str:
        """When it is done, in UTC."""
        ...

    async def run_once(self) -> object:
        """Do it. Errors: those of the database."""
        ...
