"""Looks at a user's strategy without loading it here: a process of its own does, and is killed afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from atf.adapters.processes.environment import clean_environment, import_path, program
from atf.errors import InvalidInput
from atf.trading.strategy_catalogue import StrategyFacts

_PATIENCE: Final = timedelta(seconds=30)
_LONGEST: Final = 2**20


def inspect_strategy(target: str) -> tuple[StrategyFacts, ...]:
    """Return the strategies that a target names: one, or all of a file. Errors: InvalidInput in one sentence."""
    with TemporaryDirectory(prefix="atf-strategy-") as scratch:
        ours, theirs = os.pipe()
        try:
            process = _start(theirs, target, Path(scratch))
        finally:
            os.close(theirs)
        with os.fdopen(ours, "rb") as channel:
            try:
                process.wait(_PATIENCE.total_seconds())
            except subprocess.TimeoutExpired:
                raise InvalidInput(f"it was not loaded within {_PATIENCE.total_seconds():g} s") from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.set_blocking(channel.fileno(), False)
            return _facts(channel.read(_LONGEST) or b"", process.returncode)


def _start(channel: int, target: str, scratch: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        program("atf.adapters.backtrader.inspection", str(channel), target, json.dumps(import_path())),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(os.environ, scratch, "inspection"),
        cwd=scratch,
        pass_fds=(channel,),
        start_new_session=True,
    )


def _facts(said: bytes, code: int) -> tuple[StrategyFacts, ...]:
    try:
        answer: dict[str, Any] = json.loads(said[4:])
    except ValueError:
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
        raise InvalidInput(f"its process ended {how} while it was loaded") from None
    if "error" in answer:
        raise InvalidInput(answer["error"])
    return tuple(StrategyFacts(**one) for one in answer["found"])
