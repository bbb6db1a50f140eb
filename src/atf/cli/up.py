"""``atf up``: everything with one command."""

from __future__ import annotations

import typer

from atf.lifecycle import run_process
from atf.logs import configure_logging
from atf.settings import load_settings


def up() -> None:
    """Start the database and all services, keep them alive, and stop them in order on Ctrl-C or SIGTERM.

    Without ATF_DATABASE_URL this runs ATF's own PostgreSQL. The schema is brought to this version first. A
    service that dies is started again; one that dies ten times right after its start ends everything.

    Example: atf up
    """
    from atf.bootstrap.up import up_process

    settings = load_settings()
    configure_logging("up")
    run_process(lambda: up_process(settings, typer.echo))
