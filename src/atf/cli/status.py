"""``atf status``: what runs where, and how it says it is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import typer

from atf.bootstrap.status import read_status
from atf.cli.output import JsonOption, print_json, print_table
from atf.health.service_registry import PlatformStatus
from atf.settings import load_settings


def status(as_json: JsonOption = False) -> None:
    """Say which services run where, and how each of them says it is.

    Exit status 0: something runs and all of it is healthy. 1: nothing runs, a process has not been seen for
    30 s, or a system is not healthy. 3: the database cannot be reached.

    Example: atf status --json
    """
    found = asyncio.run(read_status(load_settings()))
    if as_json:
        print_json(_plain(found))
    else:
        _print(found)
    if not found.is_healthy:
        raise typer.Exit(1)


def _plain(found: PlatformStatus) -> dict[str, object]:
    services = [{**asdict(service), "is_stale": service.is_stale} for service in found.services]
    return {"is_healthy": found.is_healthy, "services": services, "systems": list(found.systems)}


def _print(found: PlatformStatus) -> None:
    if not found.services and not found.systems:
        typer.echo("nothing runs; start everything with: atf up")
        return
    services = [
        (
            s.service,
            s.host,
            s.pid,
            s.version,
            s.started_at,
            f"{s.age_seconds:.0f} s ago{' (stale)' if s.is_stale else ''}",
            s.endpoints.get("health"),
        )
        for s in found.services
    ]
    print_table("Services", ("service", "host", "pid", "version", "since", "last seen", "health"), services)
    systems = [
        (s.system, s.component or None, s.status, s.last_heartbeat, s.response_time_ms, s.error_message)
        for s in found.systems
    ]
    columns = ("system", "process", "status", "last heartbeat", "check took (ms)", "error")
    print_table("Health", columns, systems)
