"""Whether a session that never ended still lives, as far as its own machine can tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from atf.trading.service_store import Session

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_OWN_PROGRAM: Final = b"atf"


def boot_id() -> str:
    """Return what changes with each start of the machine; empty where nobody tells."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def is_alive(session: Session) -> bool:
    """Return whether the process of a session of this machine is still there.

    Another process may have its number by now: only one that looks like ours counts.
    """
    if session.boot_id != boot_id():
        return False
    try:
        os.kill(session.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return _OWN_PROGRAM in Path(f"/proc/{session.pid}/cmdline").read_bytes()
    except OSError:
        return True
