"""Channel ``console``: one line a message on the process's standard output."""

from __future__ import annotations

import sys
from typing import TextIO

from atf.notifications.message import Delivery


class ConsoleChannel:
    """Prints the message with its dedup key, so that a repeated line can be recognised."""

    name = "console"
    is_idempotent = False
    disturbs = True

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    async def send(self, delivery: Delivery) -> str | None:
        """Print one line; line breaks in the text become spaces."""
        stream = self._stream or sys.stdout
        line = " ".join(f"[{delivery.dedup_key}] {delivery.title}: {delivery.body}".split())
        stream.write(f"{line}\n")
        stream.flush()
        return None
