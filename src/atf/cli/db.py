"""``atf db``: the database that ATF uses, its own or the one that ATF_DATABASE_URL names."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys

import typer

from atf.bootstrap import database as bootstrap
from atf.bootstrap.accounts import told_at_first_start
from atf.bootstrap.migration import migrate_database
from atf.cli.output import JsonOption, print_fields, print_json
from atf.errors import ConfigurationError
from atf.settings import Settings, load_settings

app = typer.Typer()


@app.command()
def start() -> None:
    """Start ATF's own PostgreSQL and leave it running.

    Example: atf db start && atf db migrate
    """
    bootstrap.start_embedded(_own_database(load_settings()))
    typer.echo("the database is running; stop it with: atf db stop")


@app.command()
def stop(force: bool = typer.Option(False, "--force", help="Stop it even while processes use it.")) -> None:
    """Stop ATF's own PostgreSQL.

    Example: atf db stop
    """
    was_running = bootstrap.stop_embedded(_own_database(load_settings()), force=force)
    typer.echo("the database is stopped" if was_running else "the database was not running")


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Say whether the database runs, where it is, and which schema it has; nothing is started.

    Example: atf db status --json
    """
    found = bootstrap.describe_database(load_settings())
    if as_json:
        print_json(found)
    else:
        print_fields(found)


@app.command()
def url() -> None:
    """Print the database's URL, password included.

    Example: psql "$(atf db url)"
    """
    with bootstrap.libpq_url(load_settings()) as found:
        typer.echo(found)


@app.command()
def migrate() -> None:
    """Bring the database to the schema of this version; repeat it as often as you like.

    As long as the owner has no password, nor a link for one that still holds, it prints such a link.

    Example: atf db migrate
    """
    settings = load_settings()
    before, now = migrate_database(settings)
    typer.echo(f"schema {now}: nothing to do" if before == now else f"schema {before or 'none'} → {now}")
    sentence = asyncio.run(told_at_first_start(settings))
    if sentence is not None:
        typer.echo(sentence)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the database; what follows is passed on to it.

    Example: atf db psql -c "SELECT status, count(*) FROM job_schedule_runs GROUP BY 1"
    """
    settings = load_settings()
    with bootstrap.libpq_url(settings) as found:
        program = bootstrap.psql_program(settings) or shutil.which("psql")
        if program is None:
            raise ConfigurationError("psql is not installed: install a PostgreSQL client")
        finished = subprocess.run([program, found, *context.args], check=False)
    sys.exit(finished.returncode)


def _own_database(settings: Settings) -> Settings:
    if settings.database_url is not None:
        raise ConfigurationError(
            "ATF_DATABASE_URL: names a database that ATF does not run; start and stop it where it lives"
        )
    return settings
