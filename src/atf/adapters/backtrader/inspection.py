"""The program that looks at a strategy for ``atf strategies check``: which classes there are, what they take."""

from __future__ import annotations

import inspect
import json
import os
import resource
import sys
from typing import Any, Final

from atf.adapters.bot_processes.preloading import preload
from atf.adapters.processes.frames import write_frame

_MOST_MEMORY: Final = 512 * 2**20


def main() -> None:
    """Say on a file descriptor what a target has. Arguments: descriptor, target, import path as JSON."""
    channel, target, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.set_inheritable(channel, False)
    sys.path[:] = json.loads(path)
    preload()
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    write_frame(channel, json.dumps(_looked_at(target)).encode())


# What follows loads Backtrader, which ``preload`` must have done first, and without what it would drag in.


def _looked_at(target: str) -> dict[str, Any]:
    from atf.adapters.backtrader.failure import failed
    from atf.adapters.backtrader.strategy_loading import load_strategies

    try:
        return {"found": [_facts(one) for one in load_strategies(target)]}
    except BaseException as exc:  # noqa: BLE001 - whatever a user's module raises while it is loaded
        return {"error": failed(exc).error}


def _facts(strategy: Any) -> dict[str, Any]:
    from atf.adapters.backtrader.strategy_loading import params_of
    from atf.adapters.backtrader.strategy_state import has_state

    doc = inspect.getdoc(strategy) if "__doc__" in vars(strategy) else None
    return {
        "name": strategy.__name__,
        "doc": (doc or "").partition("\n")[0],
        "params": {name: _plain(value) for name, value in params_of(strategy).items()},
        "keeps_state": has_state(strategy),
    }


def _plain(value: Any) -> Any:
    """Return a default as JSON can hold it, anything else as it is written."""
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
