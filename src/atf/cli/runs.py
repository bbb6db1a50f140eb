"""``atf runs``: what ran and how it ended."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.output import JsonOption, LimitOption, UserOption, print_fields, print_json, print_table
from atf.errors import InvalidInput
from atf.jobs.run import JobType, RunFilter, RunId, RunRecord, RunStatus

app = typer.Typer()


@app.command("list")
def list_runs(
    status: Annotated[
        list[RunStatus] | None, typer.Option("--status", help="Only runs in this state; repeat it for more.")
    ] = None,
    schedule: Annotated[int | None, typer.Option("--schedule", help="Only runs of this schedule.")] = None,
    job_type: Annotated[JobType | None, typer.Option("--type", help="Only jobs of this type.")] = None,
    limit: LimitOption = 50,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first.

    Example: atf runs list --status FAILED --limit 10
    """

    async def work(client: Client) -> list[RunRecord]:
        wanted = RunFilter(client.user_id, tuple(status or ()), schedule, job_type, limit)
        return list(await client.jobs.list_runs(wanted))

    runs = with_client(user, work)
    if as_json:
        print_json(runs)
        return
    columns = ("run", "type", "schedule", "status", "scheduled for", "started", "finished", "attempt", "error")
    rows = [
        (
            r.run_id,
            r.job_type,
            r.job_id,
            r.status,
            r.scheduled_for,
            r.started_at,
            r.finished_at,
            r.attempt,
            r.error,
        )
        for r in runs
    ]
    print_table("Runs", columns, rows)


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(help="The run's id, as `atf runs list` shows it.", metavar="RUN")],
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Show a run: what it was given, what came out.

    Example: atf runs show 5f2b6c1e-0d8e-4a53-9f0a-3a1f5b7c9d10
    """
    wanted = _run_id(run_id)
    run = with_client(user, lambda client: client.jobs.get_run(client.user_id, wanted))
    if as_json:
        print_json(run)
        return
    print_fields(
        {
            "run": run.run_id,
            "type": run.job_type,
            "schedule": run.job_id,
            "status": run.status,
            "scheduled for": run.scheduled_for,
            "enqueued": run.enqueued_at,
            "started": run.started_at,
            "finished": run.finished_at,
            "attempt": f"{run.attempt} of {run.max_attempts}",
            "worker": run.worker_id,
            "error": run.error,
            "snapshot": dict(run.snapshot or {}),
            "result": dict(run.result or {}),
        }
    )


def _run_id(text: str) -> RunId:
    try:
        return RunId(UUID(text))
    except ValueError:
        raise InvalidInput(
            f"must be a run's id such as `atf runs list` shows, got '{text}'", field="RUN"
        ) from None
