"""What went wrong in a strategy, in one sentence for its owner: what, and in which line of theirs."""

from __future__ import annotations

import resource
import traceback
from pathlib import Path
from typing import Final

import backtrader as bt

from atf.errors import AtfError, storable
from atf.trading.bot_messages import Failed

_LONGEST_TRACE: Final = 8000
_LONGEST_SENTENCE: Final = 1000
_OURS: Final = Path(__file__).parents[2]
_NOT_THEIRS: Final = (str(Path(bt.__file__).parent), str(_OURS), "<frozen")
_LIKE_THEIRS: Final = str(_OURS / "trading" / "strategies")
_MIB: Final = 2**20


def failed(error: BaseException) -> Failed:
    """Return what the service is told of an error."""
    trace = storable("".join(traceback.format_exception(error)))
    return Failed(storable(f"{_what(error)}{_where(error)}")[:_LONGEST_SENTENCE], trace[-_LONGEST_TRACE:])


def _what(error: BaseException) -> str:
    if isinstance(error, AtfError):
        return str(error)
    if isinstance(error, MemoryError):
        most = resource.getrlimit(resource.RLIMIT_DATA)[0]
        return "the strategy needs more memory than there is" + (
            f": its limit is {most // _MIB} MiB" if most != resource.RLIM_INFINITY else ""
        )
    if isinstance(error, SystemExit):
        return "the strategy ended its own process"
    if isinstance(error, SyntaxError):
        return f"the strategy's file is not Python: {error.msg} in line {error.lineno} of {_name(error.filename)}"
    text = " ".join(str(error).split())
    return f"the strategy raised {type(error).__name__}" + (f": {text}" if text else "")


def _where(error: BaseException) -> str:
    """Return the innermost place that is neither Backtrader's nor ours."""
    if isinstance(error, SyntaxError | AtfError):
        return ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(_LIKE_THEIRS) or not frame.filename.startswith(_NOT_THEIRS):
            return f" (line {frame.lineno} of {_name(frame.filename)}, in {frame.name})"
    return ""


def _name(filename: str | None) -> str:
    return Path(filename or "?").name
