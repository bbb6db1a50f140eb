"""``atf scheduler``: the process that makes due runs."""

from __future__ import annotations

import typer

from atf.lifecycle import run_process
from atf.settings import load_settings

app = typer.Typer()


@app.callback()
def _scheduler() -> None:
    """Run the scheduler."""


@app.command()
def start() -> None:
    """Run a scheduler until it is stopped; several on one database share the work.

    Example: atf scheduler start
    """
    from atf.bootstrap.scheduler import scheduler_process

    async def main() -> None:
        async with scheduler_process(load_settings()) as service:
            await service.run()

    run_process(main())
