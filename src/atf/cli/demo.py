"""``atf demo``: the whole pipeline on real prices, to look at."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from atf.cli.output import JsonOption, print_json
from atf.settings import load_settings


def demo(
    once: Annotated[bool, typer.Option("--once", help="Only the newest 500 sessions.")] = False,
    sessions: Annotated[
        int | None, typer.Option("--sessions", min=1, max=3270, help="Only the newest so many sessions.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay daily prices of five shares, 2000 to 2013, through the real pipeline, and watch.

    Alerts are evaluated by the real scheduler and worker over ATF's own PostgreSQL, in a folder of the demo's
    own; messages go to a log and an inbox. Stopped or killed, it goes on where it was. Exit status 0 only if
    every stage was passed.

    Example: atf demo --once
    """
    from atf.demo.demo import ONCE_SESSIONS, plan_demo, run_demo
    from atf.demo.view import open_view, print_summary

    settings = load_settings()
    settings = settings.model_copy(
        update={
            "home": settings.home / "demo",
            "database_url": None,
            "database_direct_url": None,
            "pg_allow_nobody": True,
        }
    )
    plan = plan_demo(settings, sessions=ONCE_SESSIONS if once else sessions)
    with open_view(plain=as_json) as view:
        summary = asyncio.run(run_demo(settings, plan, view))
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
        typer.echo(f"look around with: ATF_HOME={settings.home} atf alerts list")
    if not summary.passed:
        raise typer.Exit(1)
