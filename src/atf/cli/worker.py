"""``atf worker``: the process that does runs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import typer

from atf.cli.process import run_service
from atf.errors import InvalidInput

app = typer.Typer()
_MOST: Final = 1000
_LONGEST_NAME: Final = 100


@app.callback()
def _worker() -> None:
    """Run a worker."""


@app.command()
def start(
    types: Annotated[
        str | None, typer.Option("--types", help="Only these job types, separated by commas. Default: all.")
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option("--concurrency", help="Runs of a type at the same time: a number, or TYPE=NUMBER,..."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What it is called in `atf workers list`.")] = "worker",
) -> None:
    """Run a worker until it is stopped; several on one database share the work.

    Example: atf worker start --name heavy --types report,screener --concurrency report=2,screener=1
    """
    from atf.bootstrap.duties import WorkerOptions
    from atf.bootstrap.worker import worker_process

    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
        raise InvalidInput(f"must have 1 to {_LONGEST_NAME} printable characters", field="--name")
    by_type, of_all = _concurrency(concurrency)
    chosen = tuple(part.strip() for part in types.split(",")) if types is not None else ()
    options = WorkerOptions(name, chosen, by_type, of_all)
    run_service("worker", partial(worker_process, options=options))


def _concurrency(given: str | None) -> tuple[dict[str, int], int | None]:
    """Return the numbers by type and the one for all types."""
    by_type: dict[str, int] = {}
    of_all: int | None = None
    for part in given.split(",") if given is not None else ():
        job_type, equals, number = part.strip().rpartition("=")
        if equals:
            by_type[job_type.strip()] = _count(number)
        else:
            of_all = _count(number)
    return by_type, of_all


def _count(text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and 1 <= int(text) <= _MOST):
        raise InvalidInput(f"must be 1 to {_MOST}, or TYPE=NUMBER, got '{text}'", field="--concurrency")
    return int(text)
