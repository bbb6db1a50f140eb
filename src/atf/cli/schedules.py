"""``atf schedules``: what runs when."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.output import JsonOption, UserOption, print_fields, print_json, print_table
from atf.jobs.run import JobType
from atf.schedules.schedule import Schedule

app = typer.Typer()


@app.command("list")
def list_schedules(
    job_type: Annotated[JobType | None, typer.Option("--type", help="Only jobs of this type.")] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List schedules.

    Example: atf schedules list --type alert
    """

    async def work(client: Client) -> list[Schedule]:
        return list(await client.jobs.list_schedules(client.user_id, job_type))

    schedules = with_client(user, work)
    if as_json:
        print_json(schedules)
        return
    columns = ("id", "name", "type", "target", "cron", "time zone", "on", "next run")
    rows = [(s.id, s.name, s.job_type, s.target, s.cron, s.timezone, s.enabled, s.next_run_at) for s in schedules]
    print_table("Schedules", columns, rows)


@app.command()
def show(
    schedule_id: Annotated[int, typer.Argument(help="The schedule's number.", metavar="ID")],
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Show a schedule.

    Example: atf schedules show 1
    """
    schedule = with_client(user, lambda client: client.jobs.get_schedule(client.user_id, schedule_id))
    if as_json:
        print_json(schedule)
        return
    print_fields(
        {
            "id": schedule.id,
            "name": schedule.name,
            "type": schedule.job_type,
            "target": schedule.target,
            "cron": f"{schedule.cron} {schedule.timezone}",
            "enabled": schedule.enabled,
            "next run": schedule.next_run_at,
            "coalesce": schedule.coalesce,
            "instances": schedule.max_instances,
            "grace seconds": schedule.misfire_grace_seconds,
            "created": schedule.created_at,
            "updated": schedule.updated_at,
            "version": schedule.version,
            "parameters": dict(schedule.task_params),
        }
    )
