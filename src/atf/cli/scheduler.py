"""``atf scheduler``: the process that makes due runs, and the checks that go before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from atf.cli.output import JsonOption, print_json
from atf.cli.process import run_service
from atf.errors import ConfigurationError

if TYPE_CHECKING:
    from atf.bootstrap.checks import Check

app = typer.Typer()


@app.callback()
def _scheduler() -> None:
    """Run the scheduler; check settings, database and schemas."""


@app.command()
def start(
    with_worker: Annotated[
        bool, typer.Option("--with-worker", help="Do alerts and notifications in this process too.")
    ] = False,
) -> None:
    """Run a scheduler until it is stopped; several on one database share the work.

    Example: atf scheduler start --with-worker
    """
    if with_worker:
        from atf.bootstrap.scheduler_with_worker import scheduler_with_worker

        run_service("scheduler", scheduler_with_worker)
    else:
        from atf.bootstrap.scheduler import scheduler_process

        run_service("scheduler", scheduler_process)


@app.command()
def validate_config(as_json: JsonOption = False) -> None:
    """Check environment variables and config file; exit status 0 if all is right, else 1.

    Example: atf scheduler validate-config
    """
    from atf.bootstrap.checks import check_config

    _report(check_config(), as_json=as_json)


@app.command("test-db")
def try_database(as_json: JsonOption = False) -> None:
    """Check connection, server, schema, notifications and durability; exit status 0 if all is right, else 1.

    Without a configured database ATF's own is started for it.

    Example: atf scheduler test-db --json
    """
    from atf.bootstrap.checks import check_database

    _report(check_database(), as_json=as_json)


@app.command()
def validate_schemas(as_json: JsonOption = False) -> None:
    """Check the schemas of alerts and other jobs and the examples in them; exit status 0 if all is right, else 1.

    Example: atf scheduler validate-schemas
    """
    from atf.bootstrap.checks import check_all_schemas

    _report(check_all_schemas(), as_json=as_json)


def _report(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print what was checked. Errors: ConfigurationError with the first thing that is wrong."""
    failed = [check for check in checks if not check.is_ok]
    if as_json:
        print_json({"ok": not failed, "checks": list(checks)})
    else:
        width = max(len(check.subject) for check in checks)
        for check in checks:
            typer.echo(f"{check.outcome:<6}  {check.subject:<{width}}  {check.detail}")
    if failed:
        count = f"{len(failed)} of {len(checks)} checks failed: "
        raise ConfigurationError(f"{count}{failed[0].subject}: {failed[0].detail}")
