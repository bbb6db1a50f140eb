"""Where what a bot's strategy prints and logs is kept: the trading service writes it, people read it."""

from __future__ import annotations

from pathlib import Path

from atf.security.inner_path import inner_path
from atf.trading.order import BotId


def log_path(home: Path, bot_id: BotId) -> Path:
    """Return the file of a bot's log; it need not be there.

    Errors: InvalidInput if a link in the folder leads elsewhere.
    """
    return inner_path(home / "state" / "bots", f"{int(bot_id)}.log")
