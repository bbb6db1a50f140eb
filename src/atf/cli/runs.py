"""``atf runs``: what ran, what is running, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.json_input import read_json
from atf.cli.listing import WatchOption, instant_option, show_list
from atf.cli.output import JsonOption, LimitOption, UserOption, print_fields, print_json, print_table, shown
from atf.errors import InvalidInput, PermanentFailure
from atf.jobs.run import RunFilter, RunId, RunRecord, RunSort, RunStatus
from atf.jobs.run_request import RunCreate

app = typer.Typer()

Run = Annotated[str, typer.Argument(help="The run's id, as `atf runs list` shows it.", metavar="RUN")]
_LOOK_SECONDS: Final = 0.5
_MILLISECOND: Final = 3


@app.command("list")
def list_runs(
    status: Annotated[
        list[RunStatus] | None, typer.Option("--status", help="Only runs in this state; repeat it for more.")
    ] = None,
    schedule: Annotated[int | None, typer.Option("--schedule", help="Only runs of this schedule.")] = None,
    job_type: Annotated[str | None, typer.Option("--type", help="Only jobs of this type.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Scheduled then or later, such as 2026-01-31.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Scheduled then or earlier.")] = None,
    sort: Annotated[RunSort, typer.Option("--sort", help="Sort by this field.")] = RunSort.SCHEDULED_FOR,
    limit: LimitOption = 50,
    watch: WatchOption = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first.

    Example: atf runs list --status FAILED --limit 10
    """
    times = {"since": instant_option(since, "--since"), "until": instant_option(until, "--until")}

    async def fetch(client: Client) -> list[RunRecord]:
        if job_type is not None:
            client.jobs.types.get(job_type)
        wanted = RunFilter(client.user_id, tuple(status or ()), schedule, job_type, limit, sort=sort, **times)
        return list(await client.jobs.list_runs(wanted))

    def draw(runs: Sequence[RunRecord]) -> None:
        if as_json:
            print_json(list(runs))
            return
        columns = ("run", "type", "schedule", "status", "scheduled for", "started", "seconds", "attempt", "error")
        print_table("Runs", columns, [_row(run) for run in runs])

    show_list(user, fetch, draw, watch=watch)


@app.command()
def start(
    job_type: Annotated[str, typer.Argument(help="report, screener, notification, ...", metavar="TYPE")],
    target: Annotated[str, typer.Option("--target", help="Set or list of symbols, source, report type.")],
    params: Annotated[
        str | None,
        typer.Option("--params", help="task_params: JSON, @FILE to read a file, - for standard input."),
    ] = None,
    priority: Annotated[int, typer.Option("--priority", help="-100 to 100; lower runs first.")] = 0,
    at: Annotated[str | None, typer.Option("--at", help="Not before, such as 2026-12-31T09:00:00Z.")] = None,
    notify: Annotated[
        str | None, typer.Option("--notify", help="Tell its end by these channels, such as telegram,inbox.")
    ] = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Run something once, without a schedule.

    Example: atf runs start notification --target me --params '{"message": "hello"}'
    """
    task_params = {} if params is None else read_json(params, "--params")
    channels = () if notify is None else tuple(part.strip() for part in notify.split(","))
    request = RunCreate(job_type, target, task_params, priority, instant_option(at, "--at"), notify=channels)
    run = with_client(user, lambda client: client.jobs.create_run(client.user_id, request))
    _say(run, f"run {run.run_id} waits; follow it with: atf runs watch {run.run_id}", as_json=as_json)


@app.command()
def show(run_id: Run, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show a run: what it was given, what came out.

    Example: atf runs show 5f2b6c1e-0d8e-4a53-9f0a-3a1f5b7c9d10
    """
    run = _get(run_id, user)
    if as_json:
        print_json(run)
        return
    print_fields(
        {
            "run": run.run_id,
            "type": run.job_type,
            "schedule": run.job_id,
            "status": f"{run.status}, asked to stop" if run.cancel_requested else run.status,
            "scheduled for": run.scheduled_for,
            "enqueued": run.enqueued_at,
            "available": run.available_at,
            "started": run.started_at,
            "deadline": run.deadline_at,
            "finished": run.finished_at,
            "priority": run.priority,
            "attempt": f"{run.attempt} of {run.max_attempts}",
            "steps": None if run.progress is None else f"{run.progress.done} of {run.progress.total} done",
            "worker": run.worker_id,
            "repeats": run.retry_of,
            "error": run.error,
            "snapshot": dict(run.snapshot or {}),
            "result": dict(run.result or {}),
        }
    )


@app.command()
def logs(run_id: Run, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show every attempt of a run: worker, times, error, traceback.

    Example: atf runs logs 5f2b6c1e-0d8e-4a53-9f0a-3a1f5b7c9d10
    """
    run = _get(run_id, user)
    if as_json:
        names = ("run_id", "status", "attempt", "max_attempts", "error", "error_details", "attempts")
        print_json({name: getattr(run, name) for name in names})
        return
    for line in _log(run):
        typer.echo(line)


@app.command()
def watch(run_id: Run, user: UserOption = "owner") -> None:
    """Follow a run until it has ended; exit status 0 only if it is COMPLETED then.

    Example: atf runs watch 5f2b6c1e-0d8e-4a53-9f0a-3a1f5b7c9d10
    """
    wanted = _run_id(run_id)

    async def follow(client: Client) -> RunRecord:
        said = ""
        while True:
            run = await client.jobs.get_run(client.user_id, wanted)
            if _progress(run) != said:
                said = _progress(run)
                typer.echo(said)
            if run.status.is_final:
                return run
            await asyncio.sleep(_LOOK_SECONDS)

    run = with_client(user, follow)
    if run.status is not RunStatus.COMPLETED:
        raise PermanentFailure(f"run {run.run_id} is {run.status}{f': {run.error}' if run.error else ''}")


@app.command()
def cancel(run_id: Run, user: UserOption = "owner") -> None:
    """Cancel a run that waits; ask the worker of one that is running to stop it.

    Example: atf runs cancel 5f2b6c1e-0d8e-4a53-9f0a-3a1f5b7c9d10
    """
    wanted = _run_id(run_id)
    is_cancelled = with_client(user, lambda client: client.jobs.cancel_run(client.user_id, wanted))
    typer.echo(f"run {wanted} {'is cancelled' if is_cancelled else 'is running; its worker is asked to stop it'}")


@app.command()
def retry(run_id: Run, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Repeat a run that has ended, as a new run; the old one stays on record.

    Example: atf runs retry 5f2b6c1e-0d8e-4a53-9f0a-3a1f5b7c9d10
    """
    wanted = _run_id(run_id)
    run = with_client(user, lambda client: client.jobs.retry_run(client.user_id, wanted))
    _say(run, f"run {run.run_id} waits and repeats {wanted}", as_json=as_json)


@app.command()
def statistics(
    job_type: Annotated[str | None, typer.Option("--type", help="Only jobs of this type.")] = None,
    days: Annotated[int, typer.Option("--days", help="How many days back.")] = 7,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Show how many runs ended how, and how long they took.

    Example: atf runs statistics --type report --days 30
    """
    numbers = with_client(user, lambda client: client.jobs.get_run_statistics(client.user_id, job_type, days))
    if as_json:
        print_json(numbers)
    else:
        print_fields({name.replace("_", " "): value for name, value in numbers.items()})


def _get(run_id: str, user: str) -> RunRecord:
    wanted = _run_id(run_id)
    return with_client(user, lambda client: client.jobs.get_run(client.user_id, wanted))


def _say(run: RunRecord, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(run)
    else:
        typer.echo(sentence)


def _row(run: RunRecord) -> tuple[object, ...]:
    times = (run.scheduled_for, run.started_at, _seconds(run))
    return (run.run_id, run.job_type, run.job_id, run.status, *times, run.attempt, run.error)


def _seconds(run: RunRecord) -> float | None:
    if run.started_at is None or run.finished_at is None:
        return None
    return round((run.finished_at - run.started_at).total_seconds(), _MILLISECOND)


def _progress(run: RunRecord) -> str:
    parts = [f"{run.status}, attempt {run.attempt} of {run.max_attempts}"]
    if run.worker_id is not None:
        parts.append(f"worker {run.worker_id}")
    if run.progress is not None:
        parts.append(f"{run.progress.done} of {run.progress.total} steps done")
    if run.cancel_requested and not run.status.is_final:
        parts.append("asked to stop")
    if run.status is RunStatus.PENDING and run.attempts:
        parts.append(f"again at {shown(run.available_at)}")
    seconds = _seconds(run)
    return ", ".join(parts if seconds is None else [*parts, f"took {seconds} s"])


def _log(run: RunRecord) -> Iterator[str]:
    """Yield the lines of a run's story; the present attempt is told last, unless its end is on record."""
    yield f"run {run.run_id}, {run.job_type}: {run.status}, attempt {run.attempt} of {run.max_attempts}"
    for attempt in run.attempts:
        yield from _attempt_lines(attempt)
    if run.attempt not in [attempt.get("attempt") for attempt in run.attempts]:
        present = {
            "attempt": run.attempt,
            "worker_id": run.worker_id,
            "started_at": run.started_at,
            "ended_at": run.finished_at,
            "outcome": str(run.status).lower(),
            "error": run.error_details or run.error,
        }
        yield from _attempt_lines(present)


def _attempt_lines(attempt: Mapping[str, Any]) -> Iterator[str]:
    worker, began, ended = (shown(attempt.get(name)) for name in ("worker_id", "started_at", "ended_at"))
    yield f"attempt {attempt.get('attempt')}: {attempt.get('outcome')}, worker {worker}, from {began} to {ended}"
    error = attempt.get("error")
    if isinstance(error, Mapping):
        yield f"  {error.get('type')}: {error.get('message')}"
        for line in str(error.get("traceback") or "").rstrip().splitlines():
            yield f"  {line}"
    elif error:
        yield f"  {error}"


def _run_id(text: str) -> RunId:
    try:
        return RunId(UUID(text))
    except ValueError:
        raise InvalidInput(
            f"must be a run's id such as `atf runs list` shows, got '{text}'", field="RUN"
        ) from None
