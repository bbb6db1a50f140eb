"""What a strategy prints and logs, line by line to the service, and not more of it than anybody reads."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable
from typing import Final

from atf.errors import storable

LONGEST_LINE: Final = 2000
_BURST: Final = 100.0
_LINES_A_SECOND: Final = 10.0


class Voice:
    """Says lines: a hundred at once, then ten a second; what is too much is counted and told."""

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._room = _BURST
        self._looked_at = clock()
        self._left_out = 0

    def say(self, level: str, text: str) -> None:
        """Say the lines of a text, as far as there is room for them."""
        self.catch_up()
        lines = text.splitlines() or [""]
        said = lines[: int(self._room)]
        self._room -= len(said)
        self._left_out += len(lines) - len(said)
        for line in said:
            self._say(level, _fit(line))

    def catch_up(self) -> None:
        """Tell how many lines were left out, as soon as there is room again."""
        now = self._clock()
        self._room = min(_BURST, self._room + (now - self._looked_at) * _LINES_A_SECOND)
        self._looked_at = now
        if self._left_out and self._room >= 1:
            self._room -= 1
            left_out, self._left_out = self._left_out, 0
            self._say("warning", f"{left_out} more lines were left out, as they came too fast")


def _fit(text: str) -> str:
    clean = storable(text)
    return clean if len(clean) <= LONGEST_LINE else f"{clean[:LONGEST_LINE]}..."


class SpokenStream(io.TextIOBase):
    """A standard stream whose lines are said."""

    def __init__(self, level: str, voice: Voice) -> None:
        self._level = level
        self._voice = voice
        self._line = ""

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Say the lines that are complete; the beginning of the next one waits."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line.strip():
                self._voice.say(self._level, line)
        self._line = self._line[: LONGEST_LINE + 1]
        return len(text)

    def finish(self) -> None:
        """Say what was not ended by a new line."""
        if self._line.strip():
            self._voice.say(self._level, self._line)
        self._line = ""


class _SpokenLog(logging.Handler):
    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._voice.say(record.levelname.lower(), self.format(record))
        except Exception:  # noqa: BLE001 - as logging does with a call whose arguments do not fit
            self.handleError(record)


def speak_through(voice: Voice) -> Callable[[], None]:
    """Let this process's output and log be said; return what says the rest of them at the end."""
    streams = SpokenStream("info", voice), SpokenStream("warning", voice)
    sys.stdout, sys.stderr = streams
    logging.basicConfig(handlers=[_SpokenLog(voice)], format="%(message)s", level=logging.INFO, force=True)

    def finish() -> None:
        for stream in streams:
            stream.finish()

    return finish
