"""Processes that do nothing but wake up once a second and say a word: what so many cost whatever they are.

``python -m benchmarks.sleepers COUNT`` prints their process ids, and ends with them when its standard input ends.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

_WORD: Final = b"alive"
_TOGETHER: Final = 10
"""Into so many moments of a second all words fall, as bots' heartbeats do."""


@contextmanager
def sleepers(count: int) -> Iterator[Sequence[int]]:
    """Yield the process ids of so many sleepers that live as long as the block."""
    command = [sys.executable, "-m", "benchmarks.sleepers", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        yield [int(pid) for pid in parent.stdout.readline().split()]
        assert parent.stdin is not None
        parent.stdin.close()


def main() -> None:
    """Fork the sleepers, listen to them, and kill them in the end."""
    listening, telling = os.pipe()
    pids = [_fork(telling) for _ in range(int(sys.argv[1]))]
    threading.Thread(target=_listen, args=(listening,), daemon=True).start()
    print(*pids, flush=True)
    sys.stdin.read()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _fork(telling: int) -> int:
    pid = os.fork()
    if pid == 0:
        while True:
            at = math.floor((time.monotonic() + 1) * _TOGETHER) / _TOGETHER
            time.sleep(max(0.0, at - time.monotonic()))
            os.write(telling, _WORD)
    return pid


def _listen(listening: int) -> None:
    while os.read(listening, 65_536):
        pass


if __name__ == "__main__":
    main()
