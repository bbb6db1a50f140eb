"""``atf schedules``: what runs when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.json_input import read_json
from atf.cli.listing import WatchOption, show_list, sorted_by
from atf.cli.output import JsonOption, LimitOption, UserOption, print_fields, print_json, print_table
from atf.errors import InvalidInput
from atf.jobs.overview import MisfireRecord
from atf.jobs.run import RunRecord
from atf.schedules.schedule import UNCHANGED, Schedule, ScheduleCreate, ScheduleUpdate

app = typer.Typer()

ScheduleId = Annotated[
    int, typer.Argument(help="The schedule's number, as `atf schedules list` shows it.", metavar="ID")
]
_Target = Annotated[str, typer.Option("--target", help="Symbol, set or list of symbols, source, report type.")]
_Params = Annotated[
    str | None, typer.Option("--params", help="task_params: JSON, @FILE to read a file, - for standard input.")
]
_Cron = Annotated[str, typer.Option("--cron", help="When: five fields, or six with seconds first.")]
_Tz = Annotated[str | None, typer.Option("--tz", help="The cron's time zone. Default: UTC.")]
_Calendar = Annotated[
    str | None,
    typer.Option("--calendar", help="Exchange whose holidays are skipped, such as XNYS; none for all."),
]
_Priority = Annotated[int | None, typer.Option("--priority", help="-100 to 100; lower runs first. Default: 0.")]
_Misfire = Annotated[
    str | None, typer.Option("--misfire", help="What about missed times: skip, run_once or run_all.")
]
_Grace = Annotated[int | None, typer.Option("--grace", help="How many seconds late still counts as on time.")]
_Instances = Annotated[int | None, typer.Option("--max-instances", help="Runs at the same time.")]
_Runtime = Annotated[float | None, typer.Option("--max-runtime", help="Seconds that a run may take.")]
_Attempts = Annotated[int | None, typer.Option("--max-attempts", help="Attempts in all.")]
_Delay = Annotated[float | None, typer.Option("--retry-delay", help="Seconds before the second attempt.")]
_COLUMNS: Final = ("id", "name", "job_type", "target", "cron", "timezone", "enabled", "priority", "next_run_at")
_SORTS: Final = (*_COLUMNS, "created_at", "updated_at")
_NONE: Final = "none"


@app.command()
def add(
    job_type: Annotated[str, typer.Argument(help="report, screener, notification, ...", metavar="TYPE")],
    target: _Target,
    cron: _Cron,
    params: _Params = None,
    name: Annotated[str | None, typer.Option("--name", help="Default: type and target.")] = None,
    tz: _Tz = None,
    calendar: _Calendar = None,
    priority: _Priority = None,
    misfire: _Misfire = None,
    grace: _Grace = None,
    max_instances: _Instances = None,
    max_runtime: _Runtime = None,
    max_attempts: _Attempts = None,
    retry_delay: _Delay = None,
    is_paused: Annotated[bool, typer.Option("--paused", help="Do not run it yet.")] = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Add a schedule; a source, universe or calendar that its parameters name must be there.

    Example: atf schedules add notification --target me --cron "0 9 * * 1-5" --tz Europe/Berlin --calendar XNYS
    --params '{"message": "Markets open soon."}'
    """
    new = ScheduleCreate(
        name=name or f"{job_type} {target}"[:255],
        job_type=job_type,
        target=target,
        cron=cron,
        timezone="UTC" if tz is None else tz,
        task_params={} if params is None else read_json(params, "--params"),
        priority=priority or 0,
        enabled=not is_paused,
        max_instances=max_instances,
        misfire_grace_seconds=grace,
        misfire_policy=misfire,
        calendar=None if calendar == _NONE else calendar,
        max_runtime_seconds=max_runtime,
        max_attempts=max_attempts,
        retry_delay_seconds=retry_delay,
    )

    async def work(client: Client) -> tuple[Schedule, bool]:
        made = await client.jobs.create_schedule(client.user_id, new)
        return made, client.jobs.is_handled(made.job_type)

    schedule, is_handled = with_client(user, work)
    _say(schedule, "added", as_json=as_json)
    if not is_handled:
        typer.echo(f"note: nothing in this installation can do a '{job_type}' yet, its runs will fail", err=True)


@app.command("list")
def list_schedules(
    job_type: Annotated[str | None, typer.Option("--type", help="Only jobs of this type.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--paused", help="Only those that run, or that do not.")
    ] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Sort by this field. Default: oldest first.")] = None,
    watch: WatchOption = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List schedules.

    Example: atf schedules list --type alert --sort next_run_at
    """

    async def fetch(client: Client) -> list[Schedule]:
        if job_type is not None:
            client.jobs.types.get(job_type)
        found = await client.jobs.list_schedules(client.user_id, job_type)
        return sorted_by([one for one in found if enabled in (None, one.enabled)], sort, _SORTS)

    def draw(schedules: Sequence[Schedule]) -> None:
        if as_json:
            print_json(list(schedules))
            return
        columns = ("id", "name", "type", "target", "cron", "time zone", "on", "priority", "next run")
        print_table("Schedules", columns, [tuple(getattr(one, name) for name in _COLUMNS) for one in schedules])

    show_list(user, fetch, draw, watch=watch)


@app.command()
def show(schedule_id: ScheduleId, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show a schedule.

    Example: atf schedules show 1
    """
    schedule = with_client(user, lambda client: client.jobs.get_schedule(client.user_id, schedule_id))
    if as_json:
        print_json(schedule)
    else:
        print_fields(_fields(schedule))


@app.command()
def edit(
    schedule_id: ScheduleId,
    target: Annotated[str | None, typer.Option("--target", help="Another target.")] = None,
    cron: Annotated[str | None, typer.Option("--cron", help="Other times; it runs at them from now on.")] = None,
    params: _Params = None,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    tz: _Tz = None,
    calendar: _Calendar = None,
    priority: _Priority = None,
    misfire: _Misfire = None,
    grace: _Grace = None,
    max_instances: _Instances = None,
    max_runtime: _Runtime = None,
    max_attempts: _Attempts = None,
    retry_delay: _Delay = None,
    version: Annotated[
        int | None, typer.Option("--version", help="Only if it is still this version, as `show` tells it.")
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Change what is given and leave the rest.

    Example: atf schedules edit 1 --cron "30 9 * * 1-5" --priority -5
    """
    given: dict[str, Any] = {
        "name": name,
        "target": target,
        "task_params": None if params is None else read_json(params, "--params"),
        "cron": cron,
        "timezone": tz,
        "priority": priority,
        "misfire_policy": misfire,
        "misfire_grace_seconds": grace,
        "max_instances": max_instances,
        "max_runtime_seconds": max_runtime,
        "max_attempts": max_attempts,
        "retry_delay_seconds": retry_delay,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes and calendar is None:
        raise InvalidInput("nothing to change was given; see `atf schedules edit --help`")
    new_calendar = UNCHANGED if calendar is None else None if calendar == _NONE else calendar
    update = ScheduleUpdate(**changes, calendar=new_calendar, version=version)
    changed = with_client(user, lambda client: client.jobs.update_schedule(client.user_id, schedule_id, update))
    _say(changed, "changed", as_json=as_json)


@app.command()
def pause(schedule_id: ScheduleId, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Run it no more until it is resumed; runs that wait are cancelled.

    Example: atf schedules pause 1
    """
    schedule = with_client(user, lambda client: client.jobs.pause_schedule(client.user_id, schedule_id))
    _say(schedule, "paused", as_json=as_json)


@app.command()
def resume(schedule_id: ScheduleId, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Run it again, from now on.

    Example: atf schedules resume 1
    """
    schedule = with_client(user, lambda client: client.jobs.resume_schedule(client.user_id, schedule_id))
    _say(schedule, "resumed", as_json=as_json)


@app.command()
def delete(schedule_id: ScheduleId, user: UserOption = "owner") -> None:
    """Delete a schedule; what has run stays on record.

    Example: atf schedules delete 1
    """
    with_client(user, lambda client: client.jobs.delete_schedule(client.user_id, schedule_id))
    typer.echo(f"schedule {schedule_id} deleted")


@app.command()
def run(schedule_id: ScheduleId, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Run it now, once, also if it is paused.

    Example: atf schedules run 1
    """

    async def work(client: Client) -> RunRecord:
        return await client.jobs.trigger_schedule(client.user_id, schedule_id)

    made = with_client(user, work)
    if as_json:
        print_json(made)
    else:
        typer.echo(f"run {made.run_id} waits; follow it with: atf runs watch {made.run_id}")


@app.command()
def misfires(
    schedule: Annotated[int | None, typer.Option("--schedule", help="Only those of this schedule.")] = None,
    limit: LimitOption = 50,
    watch: WatchOption = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List what did not run when it was due, and why.

    Example: atf schedules misfires --schedule 1
    """

    async def fetch(client: Client) -> list[MisfireRecord]:
        return list(await client.jobs.list_misfires(client.user_id, schedule, limit))

    def draw(found: Sequence[MisfireRecord]) -> None:
        if as_json:
            print_json(list(found))
            return
        rows = [(m.schedule_id, m.schedule_name, m.count, m.first_at, m.last_at, m.reason) for m in found]
        print_table("Misfires", ("schedule", "name", "times", "first", "last", "reason"), rows)

    show_list(user, fetch, draw, watch=watch)


def _say(schedule: Schedule, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(schedule)
        return
    when = f"runs next at {schedule.next_run_at}" if schedule.enabled else "does not run"
    typer.echo(f"schedule {schedule.id} {what}: {schedule.name}, {when}")


def _fields(schedule: Schedule) -> dict[str, object]:
    return {
        "id": schedule.id,
        "name": schedule.name,
        "type": schedule.job_type,
        "target": schedule.target,
        "cron": f"{schedule.cron} {schedule.timezone}",
        "calendar": schedule.calendar,
        "enabled": schedule.enabled,
        "next run": schedule.next_run_at,
        "priority": schedule.priority,
        "misfire": schedule.misfire_policy,
        "grace seconds": schedule.misfire_grace_seconds,
        "coalesce": schedule.coalesce,
        "instances": schedule.max_instances,
        "max runtime": schedule.max_runtime_seconds,
        "max attempts": schedule.max_attempts,
        "retry delay": schedule.retry_delay_seconds,
        "created": schedule.created_at,
        "updated": schedule.updated_at,
        "version": schedule.version,
        "parameters": dict(schedule.task_params),
    }
