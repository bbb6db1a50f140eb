"""``atf worker``: the process that does runs."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.lifecycle import run_process
from atf.settings import load_settings

app = typer.Typer()


@app.callback()
def _worker() -> None:
    """Run a worker."""


@app.command()
def start(
    name: Annotated[str, typer.Option("--name", help="What its lease rows are called.")] = "worker",
) -> None:
    """Run a worker until it is stopped; several on one database share the work.

    Example: atf worker start --name worker-2
    """
    from atf.bootstrap.worker import worker_process

    async def main() -> None:
        async with worker_process(load_settings(), name=name) as worker:
            await worker.run()

    run_process(main())
