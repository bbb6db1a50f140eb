"""What tests have computed in child processes: well-behaved, mistaken and hostile functions."""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from atf.errors import InvalidInput, PermanentFailure, TemporaryFailure

Document = dict[str, Any]
_LONG = 300.0


def echo(document: Document) -> Document:
    return document


def whoami(_: Document) -> Document:
    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "modules": sorted(sys.modules),
        "descriptors": sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()),
        "threads": threading.active_count(),
    }


def limits(_: Document) -> Document:
    return {
        "memory": resource.getrlimit(resource.RLIMIT_DATA),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
    }


def wait_for_file(document: Document) -> Document:
    """Note its pid, then wait until a file is there."""
    _note(document, os.getpid())
    while not Path(document["file"]).exists():
        time.sleep(0.01)
    return {"pid": os.getpid(), "where": os.environ.get("JOB_RUN_MARK")}


def sleep_politely(document: Document) -> Document:
    """Sleep, and note at the end that there was a moment for clearing up."""
    _note(document, os.getpid())
    try:
        time.sleep(_LONG)
    finally:
        Path(document["cleared"]).touch()
    return {}


def spin(document: Document) -> Document:
    """Hold the interpreter, so that neither a signal handler nor another thread gets a turn."""
    _note(document, os.getpid())
    return {"sum": sum(itertools.repeat(0))}


def burn(document: Document) -> Document:
    """Keep a processor busy for some of its seconds."""
    until = time.process_time() + float(document["cpu_seconds"])
    while time.process_time() < until:
        pass
    return {"pid": os.getpid()}


def ignore_being_told(document: Document) -> Document:
    """Take no notice of SIGTERM, and have a child that takes none either."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if (pid := os.fork()) == 0:
        time.sleep(_LONG)
        os._exit(0)
    _note(document, os.getpid(), pid)
    time.sleep(_LONG)
    return {}


def allocate(_: Document) -> Document:
    kept = []
    while True:
        kept.append(bytearray(8 * 1024 * 1024))


def allocate_in_children(document: Document) -> Document:
    """Have four children, each with less than it may have and more than all of them together may."""
    for _ in range(4):
        if os.fork() == 0:
            own = bytearray(os.urandom(1024) * document["kib_each"])
            time.sleep(_LONG)
            os._exit(len(own) & 1)
    time.sleep(_LONG)
    return {}


def fork_on(document: Document) -> Document:
    """Have child after child, up to the number that the test can bear."""
    for _ in range(document["most"]):
        pid = os.fork()
        if pid == 0:
            time.sleep(_LONG)
            os._exit(0)
        _note(document, pid)
    time.sleep(_LONG)
    return {}


def close_everything(_: Document) -> Document:
    os.closerange(0, 256)
    time.sleep(_LONG)
    return {}


def write_much(_: Document) -> Document:
    for _round in range(10):
        os.write(1, b"x" * 1_000_000)
        sys.stderr.write("y" * 1000)
    print("the end")
    return {"wrote": 10_000_000}


def exit_at_once(document: Document) -> Document:
    print("about to leave")
    os._exit(document["code"])


def exit_by_system_exit(_: Document) -> Document:
    sys.exit("that is enough")


def segfault(_: Document) -> Document:
    ctypes.string_at(0)
    return {}


def leave_stray(document: Document) -> Document:
    """Start a daemon by the book: its own session, no parent; then end as the document says."""
    _note(document, os.getpid())
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _note(document, os.getpid())
            time.sleep(_LONG)
        os._exit(0)
    wait_until(lambda: len(Path(document["pids"]).read_text().split()) == 2)
    if document["then"] == "exit":
        os._exit(9)
    if document["then"] == "wait":
        time.sleep(_LONG)
    return {"left": True}


def leave_thread(_: Document) -> Document:
    threading.Thread(target=time.sleep, args=(_LONG,), daemon=True).start()
    return {"pid": os.getpid()}


def start_program(document: Document) -> Document:
    """Run a program of its own to its end."""
    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True)
    return {"answer": int(done.stdout), **document}


def fail(document: Document) -> Document:
    match document["how"]:
        case "value":
            raise ValueError("no such thing")
        case "permanent":
            raise PermanentFailure("never again")
        case "input":
            raise InvalidInput("is not good", field="task_params.size")
        case _:
            raise TemporaryFailure("busy", retry_after_seconds=17)


def unusable(document: Document) -> Any:
    match document["what"]:
        case "nan":
            return {"prices": [1.0, {"last": float("nan")}]}
        case "infinity":
            return {"ratio": float("-inf")}
        case "list":
            return [1, 2]
        case "none":
            return None
        case "set":
            return {"symbols": {"inner": {1, 2}}}
        case "circle":
            circle: Document = {}
            circle["self"] = circle
            return circle
        case _:
            return {"text": "x" * 1_100_000}


def wait_until(condition: Any) -> None:
    while not condition():
        time.sleep(0.005)


def _note(document: Document, *pids: int) -> None:
    """Append pids to the file of the document, so that the test can look whether they live."""
    with Path(document["pids"]).open("a") as file:
        file.write("".join(f"{pid}\n" for pid in pids))


def write_into_every_descriptor(_: Document) -> Document:
    """Scribble, as after mistaking one descriptor for another."""
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, (9).to_bytes(4, "big") + b"[1, 2, 3]")
        except OSError:
            continue
    time.sleep(_LONG)
    return {}


def return_twice(_: Document) -> Document:
    """Forget that after a fork there are two."""
    pid = os.fork()
    if pid != 0:
        time.sleep(0.1)  # the copy comes first
    return {"is_copy": pid == 0}


def disarrange(document: Document) -> Document:
    """Leave the process other than it was found."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.chdir("/")
    return {"pid": os.getpid()}


def die_by(document: Document) -> Document:
    os.kill(os.getpid(), document["signal"])
    time.sleep(_LONG)
    return {}


def load_numeric_libraries(_: Document) -> Document:
    import numpy as np
    import talib

    matrix = np.random.default_rng(1).random((300, 300))
    return {
        "solved": bool(np.isfinite(np.linalg.solve(matrix, matrix)).all()),
        "ema": len(talib.EMA(matrix[0], 5)),
    }
