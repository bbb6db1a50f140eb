"""``atf dlq``: dead letters, the runs that failed for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.listing import WatchOption, show_list, sorted_by
from atf.cli.output import JsonOption, LimitOption, UserOption, print_fields, print_json, print_table
from atf.jobs.dead_letters import DeadLetter, DeadLetterFilter
from atf.jobs.run import RunRecord

app = typer.Typer()

Letters = Annotated[
    list[int], typer.Argument(help="Numbers of dead letters, as `atf dlq list` shows them.", metavar="ID...")
]
_SORTS: Final = ("id", "job_type", "job_id", "reason", "attempt", "scheduled_for", "died_at")


@app.command("list")
def list_letters(
    job_type: Annotated[str | None, typer.Option("--type", help="Only jobs of this type.")] = None,
    schedule: Annotated[int | None, typer.Option("--schedule", help="Only runs of this schedule.")] = None,
    is_open: Annotated[
        bool | None, typer.Option("--open/--requeued", help="Only those not requeued yet, or those that were.")
    ] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Sort by this field. Default: newest first.")] = None,
    limit: LimitOption = 50,
    watch: WatchOption = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List runs that failed for good, newest first.

    Example: atf dlq list --type report --open
    """

    async def fetch(client: Client) -> list[DeadLetter]:
        wanted = DeadLetterFilter(client.user_id, job_type, schedule, is_open, limit)
        return sorted_by(await client.jobs.list_dead_letters(wanted), sort, _SORTS)

    def draw(letters: Sequence[DeadLetter]) -> None:
        if as_json:
            print_json(list(letters))
            return
        rows = [
            (
                one.id,
                one.run_id,
                one.job_type,
                one.job_id,
                one.reason,
                one.attempt,
                one.died_at,
                one.requeued_at,
                one.error,
            )
            for one in letters
        ]
        columns = ("id", "run", "type", "schedule", "reason", "attempts", "died", "requeued", "error")
        print_table("Dead letters", columns, rows)

    show_list(user, fetch, draw, watch=watch)


@app.command()
def show(
    letter_id: Annotated[int, typer.Argument(help="The dead letter's number.", metavar="ID")],
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Show a dead letter with the errors of all attempts.

    Example: atf dlq show 1
    """
    letter = with_client(user, lambda client: client.jobs.get_dead_letter(client.user_id, letter_id))
    if as_json:
        print_json(letter)
        return
    print_fields(
        {
            "id": letter.id,
            "run": letter.run_id,
            "type": letter.job_type,
            "schedule": letter.job_id,
            "reason": letter.reason,
            "scheduled for": letter.scheduled_for,
            "died": letter.died_at,
            "requeued": letter.requeued_at,
            "requeued as": letter.requeued_run_id,
            "error": letter.error,
            "snapshot": dict(letter.job_snapshot or {}),
            **{f"attempt {one.get('attempt')}": dict(one) for one in letter.attempts},
        }
    )


@app.command()
def requeue(letter_ids: Letters, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Run dead letters again, each as a new run with all its attempts.

    Example: atf dlq requeue 1 2
    """

    async def work(client: Client) -> list[RunRecord]:
        await _require_all(client, letter_ids)
        return [await client.jobs.requeue_dead_letter(client.user_id, number) for number in letter_ids]

    runs = with_client(user, work)
    if as_json:
        print_json(runs)
        return
    for number, run in zip(letter_ids, runs, strict=True):
        typer.echo(f"dead letter {number} is requeued as run {run.run_id}")


@app.command()
def drop(letter_ids: Letters, user: UserOption = "owner") -> None:
    """Forget dead letters; their runs stay on record as long as others.

    Example: atf dlq drop 1 2
    """

    async def work(client: Client) -> None:
        await _require_all(client, letter_ids)
        for number in letter_ids:
            await client.jobs.drop_dead_letter(client.user_id, number)

    with_client(user, work)
    typer.echo(f"dropped: {', '.join(map(str, letter_ids))}")


async def _require_all(client: Client, letter_ids: Sequence[int]) -> None:
    """Refuse a list with a wrong number in it before anything is done. Errors: NotFound."""
    for number in letter_ids:
        await client.jobs.get_dead_letter(client.user_id, number)
