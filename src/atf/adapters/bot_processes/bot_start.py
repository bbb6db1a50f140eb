"""The first moments of a bot's process, from the fork to the strategy: what it loses, what limits it."""

from __future__ import annotations

import gc
import os
import resource
import signal
from typing import Final, NoReturn

from atf.adapters.backtrader.child import serve
from atf.adapters.bot_processes.kernel import collect_orphans, die_with
from atf.adapters.bot_processes.priorities import BOT, stand_back

_CHANNEL: Final = 3


def become_bot(zygote: int, channel: int, memory_bytes: int) -> NoReturn:
    """Turn this fork of the zygote into a bot's process, run it, and leave with its exit code."""
    code = 1
    try:
        _stand_alone(zygote)
        _forget_descriptors(channel)
        _set_limits(memory_bytes)
        gc.enable()
        code = serve(_CHANNEL)
    finally:
        os._exit(code)  # nothing of the zygote's is flushed or closed by a copy of it


def _stand_alone(zygote: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    die_with(zygote)
    os.setpgid(0, 0)  # a strategy that ends its process group ends itself
    collect_orphans()
    os.nice(BOT)
    os.register_at_fork(after_in_child=stand_back)


def _forget_descriptors(channel: int) -> None:
    """Keep the socket to the service and nothing else; the standard streams lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.dup2(channel, _CHANNEL, inheritable=False)
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.closerange(_CHANNEL + 1, most)


def _set_limits(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
