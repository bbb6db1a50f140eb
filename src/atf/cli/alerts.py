"""``atf alerts``: what to watch, and what has happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from atf.alerts.action import parse_actions
from atf.alerts.alerts_service import ActionRecord, AlertRecord, NewAlert, TriggerRecord
from atf.alerts.legacy import upgraded
from atf.alerts.template_parameters import Parameter
from atf.alerts.templates import TEMPLATES, Template
from atf.bootstrap.client import Client
from atf.cli import alert_preview, alert_replay
from atf.cli.alert_input import config_given, config_in, config_of_template
from atf.cli.client import with_client
from atf.cli.listing import instant_option
from atf.cli.output import JsonOption, UserOption, print_fields, print_json, print_table
from atf.errors import InvalidInput
from atf.rules.line_text import line_of

app = typer.Typer()

_STATE_FIELDS = ("status", "data_status", "gate", "count", "last_bar", "muted_until")

REPAINTING: Final = (
    "It is live: it looks at bars that are still forming, whose values change until they close (repainting). "
    "What it tells of may be gone when the bar closes."
)

AlertId = Annotated[int, typer.Argument(help="The alert's number, as `atf alerts list` shows it.", metavar="ID")]


@app.command()
def add(
    config: Annotated[
        str | None,
        typer.Argument(
            help="The alert in one line, or its configuration: JSON, @FILE, or - for standard input.",
            metavar="ALERT",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--config", help="In place of ALERT: a file, - for standard input.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="In place of ALERT: see `atf alerts templates`.")
    ] = None,
    ticker: Annotated[str | None, typer.Option("--ticker", help="What a template watches.")] = None,
    timeframe: Annotated[str | None, typer.Option("--timeframe", help="The bars of a template.")] = None,
    params: Annotated[
        list[str] | None, typer.Option("--param", help="A template's parameter, such as fast=20; repeat it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Default: ticker and timeframe.")] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", help="When to look. Default: as bars close; more often if it is live.")
    ] = None,
    tz: Annotated[str, typer.Option("--tz", help="The cron's time zone.")] = "UTC",
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Add an alert; only bars that close from now on can trigger it.

    Example: atf alerts add "AAPL 1h: rsi(14) > 70 and close crosses above ema(50), cooldown 5m"
    """
    if sum(one is not None for one in (config, file, template)) != 1:
        raise InvalidInput("give either an alert, --config or --template", field="ALERT")
    if template is not None:
        given = config_of_template(template, ticker, timeframe, params or ())
    elif file is not None:
        given = config_in(file)
    else:
        given = config_given(config or "")
    new = NewAlert(given, name=name, cron=cron, timezone=tz)

    async def work(client: Client) -> AlertRecord:
        return await client.alerts.add(client.user_id, new)

    alert = with_client(user, work)
    if as_json:
        print_json(alert)
        return
    typer.echo(f"alert {alert.id} added: {alert.name}, looks at {alert.cron} {alert.timezone}")
    _warn_of_repainting(alert)


@app.command("templates")
def list_templates(as_json: JsonOption = False) -> None:
    """List common alerts that can be added by name.

    Example: atf alerts templates, then: atf alerts add --template golden_cross --ticker AAPL --timeframe 1d
    """
    if as_json:
        print_json([{"name": one.name, "doc": one.doc, "params": _params(one)} for one in TEMPLATES])
        return
    rows = [(one.name, "; ".join(map(_param_words, one.parameters)), one.doc) for one in TEMPLATES]
    print_table("Templates", ("name", "parameters", "what it watches for"), rows)


@app.command("list")
def list_alerts(user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """List alerts with their state.

    Example: atf alerts list --json
    """

    async def work(client: Client) -> list[AlertRecord]:
        return await client.freshness.shown(await client.alerts.list_alerts(client.user_id))

    alerts = with_client(user, work)
    if as_json:
        print_json(alerts)
        return
    columns = ("id", "name", "ticker", "timeframe", "on", "status", "data", "triggers", "last bar")
    print_table("Alerts", columns, [_row(alert) for alert in alerts])


@app.command()
def show(alert_id: AlertId, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show an alert: configuration, state, newest triggers, and what became of their actions.

    Example: atf alerts show 1
    """

    async def work(client: Client) -> tuple[AlertRecord, list[TriggerRecord], list[ActionRecord]]:
        alerts, number = client.alerts, client.user_id
        [alert] = await client.freshness.shown([await alerts.get(number, alert_id)])
        return alert, list(await alerts.triggers(number, alert_id)), list(await alerts.actions(number, alert_id))

    alert, triggers, actions = with_client(user, work)
    if as_json:
        print_json({"alert": alert, "triggers": triggers, "actions": actions})
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
            **{field: state.get(field) for field in _STATE_FIELDS},
            "triggers": state.get("trigger_count", 0),
            "in words": _in_words(alert),
            "actions": _action_words(alert),
            "configuration": dict(alert.task_params),
        }
    )
    _warn_of_repainting(alert)
    if triggers:
        rows = [(one.trigger_number, one.bar_time, dict(one.readings), _how(one)) for one in triggers]
        print_table("Newest triggers", ("number", "bar", "readings", "decided"), rows)
    if actions:
        done = [(one.trigger_number, one.bar_time, one.words, one.status, one.error) for one in actions]
        print_table("Their actions", ("trigger", "bar", "action", "status", "error"), done)


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
def edit(
    alert_id: AlertId,
    config: Annotated[
        str, typer.Argument(help="One line, or a configuration: JSON, @FILE, or -.", metavar="ALERT")
    ],
    user: UserOption = "owner",
) -> None:
    """Replace what an alert watches and how it tells; with another rule it begins anew.

    Example: atf alerts edit 1 "AAPL 1d: close > 180, rearm crossing"
    """
    given = config_given(config)

    async def work(client: Client) -> tuple[AlertRecord, AlertRecord]:
        before = await client.alerts.get(client.user_id, alert_id)
        return before, await client.alerts.edit(client.user_id, alert_id, given)

    before, alert = with_client(user, work)
    typer.echo(f"alert {alert.id} is changed: {_in_words(alert)}")
    if before.task_params.get("actions") and not alert.task_params.get("actions"):
        typer.echo("its actions are gone: a line has none; give a configuration to keep them")
    _warn_of_repainting(alert)


@app.command()
def mute(
    alert_id: AlertId,
    until: Annotated[str | None, typer.Option("--until", help="Until then. Default: until `unmute`.")] = None,
    user: UserOption = "owner",
) -> None:
    """Go on recording triggers, and tell nobody of them; also not afterwards.

    Example: atf alerts mute 1 --until 2027-01-01
    """
    instant = instant_option(until, "--until")
    alert = with_client(user, lambda client: client.alerts.mute(client.user_id, alert_id, instant))
    typer.echo(f"alert {alert.id} is muted{f' until {until}' if until else ''}")


@app.command()
def unmute(alert_id: AlertId, user: UserOption = "owner") -> None:
    """Tell of an alert's triggers again.

    Example: atf alerts unmute 1
    """
    alert = with_client(user, lambda client: client.alerts.unmute(client.user_id, alert_id))
    typer.echo(f"alert {alert.id} is not muted")


@app.command()
def reset(alert_id: AlertId, user: UserOption = "owner") -> None:
    """Let an alert begin anew, also a completed or expired one; bars that have closed by now never trigger it.

    Example: atf alerts reset 1
    """
    alert = with_client(user, lambda client: client.alerts.reset(client.user_id, alert_id))
    typer.echo(f"alert {alert.id} begins anew")


@app.command()
def ack(alert_id: AlertId, user: UserOption = "owner") -> None:
    """Note that you have seen an alert's triggers.

    Example: atf alerts ack 1
    """
    seen = with_client(user, lambda client: client.alerts.acknowledge(client.user_id, alert_id))
    typer.echo(f"{seen} triggers of alert {alert_id} are acknowledged")


@app.command()
def delete(alert_id: AlertId, user: UserOption = "owner") -> None:
    """Delete an alert; what it triggered stays on record.

    Example: atf alerts delete 1
    """
    with_client(user, lambda client: client.alerts.delete(client.user_id, alert_id))
    typer.echo(f"alert {alert_id} is deleted")


app.registered_commands += alert_preview.app.registered_commands
app.registered_commands += alert_replay.app.registered_commands


def _params(template: Template) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "doc": one.doc, "default": one.default, "allowed": one.allowed}
        for one in template.parameters
    ]


def _param_words(parameter: Parameter) -> str:
    default = "must be given" if parameter.default is None else f"{parameter.default}"
    return f"{parameter.name} ({default}): {parameter.allowed}"


def _in_words(alert: AlertRecord) -> str:
    """Return the alert as a line; one that was changed by hand in the database may not have any."""
    try:
        return line_of(upgraded(alert.task_params))
    except (InvalidInput, KeyError, TypeError, ValueError):
        return "-"


def _action_words(alert: AlertRecord) -> str | None:
    """Return what the alert makes happen, None for nothing or what was changed by hand in the database."""
    try:
        found = parse_actions(alert.task_params.get("actions", ()))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return "; ".join(f"{one.words}{', also when late' if one.runs_late else ''}" for one in found) or None


def _warn_of_repainting(alert: AlertRecord) -> None:
    """Say of a live alert what its triggers are worth."""
    options = alert.task_params.get("options")
    if isinstance(options, Mapping) and options.get("evaluate_on") == "live":
        typer.echo(REPAINTING)


def _how(trigger: TriggerRecord) -> str:
    if trigger.live_at is not None:
        return f"{trigger.live_at:%Y-%m-%d %H:%M:%S}Z, before the close"
    return "late" if trigger.is_late else "at the close"


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
