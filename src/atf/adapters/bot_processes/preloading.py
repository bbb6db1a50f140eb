"""What all bots share in memory: loaded once, before the first of them is forked."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, NoReturn

from atf.trading.strategy_catalogue import BUILT_IN

_HEAVY: Final = ("talib", "pandas", "polars", "matplotlib")
"""Backtrader loads what it finds of these: 127 MB and three seconds that no strategy asked for."""
_MODULES: Final = ("backtrader", "atf.adapters.bot_processes.bot_start")


BecomeBot = Callable[[int, int, int], NoReturn]
"""What turns a fork into a bot, given the zygote's pid, the channel and the limit of memory."""


def preload() -> BecomeBot:
    """Load Backtrader, what runs in a bot's process, and the built-in strategies; return how a bot begins.

    What Backtrader was kept from loading stays loadable: by a strategy that imports it, and by one that uses
    ``bt.talib``.
    """
    import_without(_HEAVY, *_MODULES)
    for target in BUILT_IN.values():
        importlib.import_module(target.partition(":")[0])
    _load_talib_when_used(sys.modules["backtrader.talib"])
    begin: BecomeBot = sys.modules[_MODULES[-1]].become_bot
    return begin


def import_without(hidden: tuple[str, ...], *modules: str) -> None:
    """Import modules while others, as far as they are not loaded already, seem not to be installed."""
    absent = [name for name in hidden if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        for name in modules:
            importlib.import_module(name)
    finally:
        for name in absent:
            del sys.modules[name]


def _load_talib_when_used(module: ModuleType) -> None:
    def load(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        vars(module).pop("__getattr__", None)
        import_without(("pandas", "polars"), "talib")
        importlib.reload(module)
        return getattr(module, name)

    vars(module)["__getattr__"] = load
