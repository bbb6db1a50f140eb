"""``atf worker``: the process that does runs."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from atf.cli.process import run_service

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

    run_service("worker", partial(worker_process, name=name))
