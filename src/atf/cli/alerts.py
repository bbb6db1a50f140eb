"""``atf alerts``: what to watch, and what has happened."""

from __future__ import annotations

from typing import Annotated

import typer

from atf.alerts.alerts_service import AlertRecord, NewAlert, TriggerRecord
from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.json_input import read_json
from atf.cli.output import JsonOption, UserOption, print_fields, print_json, print_table

app = typer.Typer()

AlertId = Annotated[int, typer.Argument(help="The alert's number, as `atf alerts list` shows it.", metavar="ID")]


@app.command()
def add(
    config: Annotated[
        str, typer.Argument(help="The configuration as JSON, @FILE to read a file, - for standard input.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Default: ticker and timeframe.")] = None,
    cron: Annotated[str | None, typer.Option("--cron", help="When to look. Default: as bars close.")] = None,
    tz: Annotated[str, typer.Option("--tz", help="The cron's time zone.")] = "UTC",
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Add an alert; only bars that close from now on can trigger it.

    Example: atf alerts add '{"ticker": "AAPL", "timeframe": "1d",
    "rule": {"indicator": "rsi", "operator": ">", "value": 70}}'
    """
    new = NewAlert(read_json(config, "config"), name=name, cron=cron, timezone=tz)

    async def work(client: Client) -> AlertRecord:
        return await client.alerts.add(client.user_id, new)

    alert = with_client(user, work)
    if as_json:
        print_json(alert)
    else:
        typer.echo(f"alert {alert.id} added: {alert.name}, looks at {alert.cron} {alert.timezone}")


@app.command("list")
def list_alerts(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """List alerts with their state.

    Example: atf alerts list --json
    """

    async def work(client: Client) -> list[AlertRecord]:
        return list(await client.alerts.list_alerts(client.user_id))

    alerts = with_client(user, work)
    if as_json:
        print_json(alerts)
        return
    columns = ("id", "name", "ticker", "timeframe", "on", "status", "data", "triggers", "last bar")
    print_table("Alerts", columns, [_row(alert) for alert in alerts])


@app.command()
def show(alert_id: AlertId, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show an alert: configuration, state, newest triggers.

    Example: atf alerts show 1
    """

    async def work(client: Client) -> tuple[AlertRecord, list[TriggerRecord]]:
        alert = await client.alerts.get(client.user_id, alert_id)
        return alert, list(await client.alerts.triggers(client.user_id, alert_id))

    alert, triggers = with_client(user, work)
    if as_json:
        print_json({"alert": alert, "triggers": triggers})
        return
    state = alert.state_json or {}
    print_fields(
        {
            "id": alert.id,
            "name": alert.name,
            "enabled": alert.enabled,
            "cron": f"{alert.cron} {alert.timezone}",
            "created": alert.created_at,
            "next run": alert.next_run_at,
            **{field: state.get(field) for field in ("status", "data_status", "gate", "count", "last_bar")},
            "triggers": state.get("trigger_count", 0),
            "configuration": dict(alert.task_params),
        }
    )
    if triggers:
        rows = [(one.trigger_number, one.bar_time, dict(one.readings), one.is_late) for one in triggers]
        print_table("Newest triggers", ("number", "bar", "readings", "late"), rows)


@app.command()
def pause(alert_id: AlertId, user: UserOption = "owner") -> None:
    """Stop looking; what closes meanwhile will never trigger.

    Example: atf alerts pause 1
    """
    alert = with_client(user, lambda client: client.alerts.pause(client.user_id, alert_id))
    typer.echo(f"alert {alert.id} is paused")


@app.command()
def resume(alert_id: AlertId, user: UserOption = "owner") -> None:
    """Look again, from now on.

    Example: atf alerts resume 1
    """
    alert = with_client(user, lambda client: client.alerts.resume(client.user_id, alert_id))
    typer.echo(f"alert {alert.id} looks again, next at {alert.next_run_at}")


@app.command()
def delete(alert_id: AlertId, user: UserOption = "owner") -> None:
    """Delete an alert; what it triggered stays on record.

    Example: atf alerts delete 1
    """
    with_client(user, lambda client: client.alerts.delete(client.user_id, alert_id))
    typer.echo(f"alert {alert_id} is deleted")


def _row(alert: AlertRecord) -> tuple[object, ...]:
    state = alert.state_json or {}
    return (
        alert.id,
        alert.name,
        alert.task_params.get("ticker"),
        alert.task_params.get("timeframe"),
        alert.enabled,
        state.get("status"),
        state.get("data_status"),
        state.get("trigger_count"),
        state.get("last_bar"),
    )
