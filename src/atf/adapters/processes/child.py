"""What runs in the child: limits itself, then calls one function after the other as it is told."""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from atf.adapters.processes.documents import encoded
from atf.adapters.processes.frames import read_frame, write_frame
from atf.errors import InvalidInput, PermanentFailure, TemporaryFailure

_LONGEST_TEXT: Final = 4000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class _Stopped(BaseException):
    """The worker wants the run to end; the function's ``finally`` blocks have a moment."""


def main() -> None:
    """Serve the worker on the file descriptor that the first argument names, until it hangs up."""
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    setup = read_frame(channel)
    if setup is None:
        return
    _limit_itself(setup)
    try:
        _serve(channel, setup["result_bytes"])
    except _Stopped:
        sys.stderr.flush()
        os._exit(128 + signal.SIGTERM)  # what a run has left in the interpreter is not waited for


def _serve(channel: int, result_bytes: int) -> None:
    own, folder = os.getpid(), os.getcwd()  # noqa: PTH109 - pathlib would be loaded for this alone
    signal.signal(signal.SIGTERM, _stop)
    while (request := read_frame(channel)) is not None:
        answer = _answer(request, result_bytes)
        if os.getpid() != own:
            os._exit(0)  # a copy that the run has made of this process: it must not speak for it
        write_frame(channel, answer)
        signal.signal(signal.SIGTERM, _stop)
        os.chdir(folder)


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # told once: another one must not interrupt the clearing up
    raise _Stopped


def _limit_itself(setup: dict[str, Any]) -> None:
    sys.path[:] = setup["path"]
    if sys.platform == "linux":
        _die_with(setup["parent"])
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that whatever a run starts stays below this process
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_NOFILE, setup["open_files"])
    _set_limit(resource.RLIMIT_DATA, setup["memory_bytes"])


def _die_with(parent: int) -> None:
    """Let the kernel kill this process with the thread that started it, which lives as long as the executor."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it had died before the kernel was asked


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _set_limit(which: int, wanted: int) -> None:
    _, hard = resource.getrlimit(which)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (value, value))


def _answer(request: dict[str, Any], result_bytes: int) -> bytes:
    try:
        result = _function(request["compute"])(request["document"])
        body = b'"result":' + encoded(result, "the result", result_bytes)
        is_spent = False
    except _Stopped:
        raise
    except BaseException as exc:  # noqa: BLE001 - the error is the run's answer; SystemExit is one too
        body = b'"error":' + encoded(_told(exc), "the error", result_bytes)
        is_spent = isinstance(exc, MemoryError)
    result = None
    return b'{"is_spent":%s,%s}' % (b"true" if is_spent or _has_leftovers() else b"false", body)


def _function(name: str) -> Callable[[Any], object]:
    """Errors: PermanentFailure if this machine does not have it."""
    module, _, function = name.partition(":")
    try:
        found: Callable[[Any], object] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as exc:
        raise PermanentFailure(f"{name} cannot be loaded: {exc}") from exc
    return found


def _told(error: BaseException) -> dict[str, Any]:
    lines = "".join(traceback.format_exception(error))
    return {
        "type": type(error).__qualname__,
        "message": _message(error)[:_LONGEST_TEXT],
        "traceback": lines[-_LONGEST_TEXT:],
        "is_permanent": isinstance(error, PermanentFailure | InvalidInput),
        "retry_after_seconds": error.retry_after_seconds if isinstance(error, TemporaryFailure) else None,
    }


def _message(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        most = resource.getrlimit(resource.RLIMIT_DATA)[0] // (1024 * 1024)
        return f"the run needs more than its memory limit of {most} MiB"
    return str(error)


def _has_leftovers() -> bool:
    """Tell whether the run left processes or threads behind; this process is not used again then."""
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        return True
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
