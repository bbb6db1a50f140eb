"""Waiting for work that is shared: it goes on by itself when one who waits for it has no more time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from atf.market.bars import Series


async def late_at(tasks: Mapping[Series, asyncio.Task[None]], deadline: float) -> set[Series]:
    """Wait until the deadline (of the event loop) and return the series whose tasks are not done.

    Errors: those of the tasks that are done.
    """
    if not tasks:
        return set()
    patience = max(0.0, deadline - asyncio.get_running_loop().time())
    done, _ = await asyncio.wait(set(tasks.values()), timeout=patience)
    for task in done:
        if not task.cancelled():
            task.result()
    return {series for series, task in tasks.items() if task not in done or task.cancelled()}
