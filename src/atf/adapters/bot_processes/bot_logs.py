"""What strategies print, in a file for each bot that does not grow for ever."""

from __future__ import annotations

import logging
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from atf.secrecy import concealed
from atf.trading.bot_messages import Said
from atf.trading.order import BotId

_LARGEST: Final = 5 * 2**20
_OLDER: Final = 2
_MOST_LINES: Final = 200
"""Of one text, such as where a strategy failed: all else comes line by line."""
_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class BotLogs:
    """Files ``<id>.log`` in a directory, opened when they are needed; a full disk costs lines and no bot."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._handlers: dict[BotId, RotatingFileHandler] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for handler in self._handlers.values():
            handler.close()
        self._handlers.clear()

    def say(self, bot_id: BotId, said: Said) -> None:
        """Write down what a strategy has printed or logged, or how it failed."""
        with suppress(OSError):
            handler = self._handlers.get(bot_id) or self._open(bot_id)
            level = _LEVELS.get(said.level, logging.INFO)
            for line in concealed(said.text).splitlines()[:_MOST_LINES] or [""]:
                handler.emit(logging.LogRecord(str(bot_id), level, "", 0, line, None, None))

    def _open(self, bot_id: BotId) -> RotatingFileHandler:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{bot_id}.log"
        handler = RotatingFileHandler(path, maxBytes=_LARGEST, backupCount=_OLDER, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter(_FORMAT))
        self._handlers[bot_id] = handler
        return handler
