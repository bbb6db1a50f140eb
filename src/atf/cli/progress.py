"""How a command shows that something goes on: a bar on standard error, if a person looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Advance = Callable[[float], None]
DONE: Final = 1.0
"""One of the things is done; less is a part of it."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show a bar while something goes on with so many things, and let it be moved on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda part: bar.advance(task, part)
