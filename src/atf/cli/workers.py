"""``atf workers``: who works at the moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from atf.bootstrap.client import Client
from atf.cli.listing import WatchOption, show_list, sorted_by
from atf.cli.output import JsonOption, print_json, print_table
from atf.jobs.overview import WorkerRecord

app = typer.Typer()
_SORTS: Final = ("worker_id", "name", "host", "started_at", "lease_expires_at", "running")


@app.callback()
def _workers() -> None:
    """List workers."""


@app.command("list")
def list_workers(
    job_type: Annotated[str | None, typer.Option("--type", help="Only those that do jobs of this type.")] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Sort by this field. Default: oldest first.")] = None,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the processes that hold a lease, and how many runs each has.

    Example: atf workers list --watch
    """

    async def fetch(client: Client) -> list[WorkerRecord]:
        found = await client.jobs.list_workers()
        return sorted_by([one for one in found if job_type is None or job_type in one.types], sort, _SORTS)

    def draw(workers: Sequence[WorkerRecord]) -> None:
        if as_json:
            print_json(list(workers))
            return
        rows = [
            (w.worker_id, w.name, w.host, w.pid, ", ".join(w.types), w.running, w.is_alive, w.started_at)
            for w in workers
        ]
        print_table("Workers", ("worker", "name", "host", "pid", "types", "running", "alive", "started"), rows)

    show_list("owner", fetch, draw, watch=watch)
