"""Named places at which a test may hold a process to kill it there; inert in production.

``ATF_PAUSE_AT=name`` makes the process announce the point on standard error once it is reached, and wait.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

_HELD_AT: Final = os.environ.get("ATF_PAUSE_AT")


async def pause_point(name: str) -> None:
    """Wait for ever if the environment names this point; otherwise do nothing."""
    if name == _HELD_AT:
        sys.stderr.write(f"paused at {name}\n")
        sys.stderr.flush()
        await asyncio.Event().wait()
