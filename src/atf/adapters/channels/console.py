"""Channel ``console``: one line a message on the process's standard output."""

from __future__ import annotations

import sys
from typing import TextIO

from atf.notifications.channel import UNLIMITED, Letter, Reach, TextForm


class ConsoleChannel:
    """Prints the message with its dedup key, so that a repeated line can be recognised."""

    name = "console"
    is_idempotent = False
    disturbs = True
    reach = Reach.SHARED
    form = TextForm.PLAIN
    limits = UNLIMITED

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    async def send(self, letter: Letter) -> str | None:
        """Print one line; line breaks become spaces, what no line can show is shown as its code."""
        stream = self._stream or sys.stdout
        line = " ".join(f"[{letter.dedup_key}] {letter.title}: {letter.text}".split())
        stream.write(f"{_shown(line)}\n")
        stream.flush()
        return None

    async def close(self) -> None:
        """Do nothing: the stream is the process's."""


def _shown(line: str) -> str:
    """Return a line without what would steer the terminal, such as the beginning of an escape sequence."""
    return "".join(f"\\x{ord(one):02x}" if ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0 else one for one in line)
