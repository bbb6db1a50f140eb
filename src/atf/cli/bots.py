"""``atf bots``: what trades, with which strategy, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from atf.bootstrap.client import Client
from atf.cli import bot_logs, bot_records, bot_versions, bot_words
from atf.cli.bot_arguments import BotIdArgument
from atf.cli.bot_input import (
    BrokerOption,
    BrokerOptionsOption,
    CalendarOption,
    CapitalOption,
    ConfigOption,
    ConfigOptions,
    HoursOption,
    NoteOption,
    ParamOption,
    PolicyOption,
    ProviderOption,
    RiskOption,
    StrategyOption,
    SymbolOption,
    TimeframeOption,
    TzOption,
    document_given,
    document_in,
)
from atf.cli.client import with_client
from atf.cli.listing import WatchOption, show_list, sorted_by
from atf.cli.output import JsonOption, UserOption, print_fields, print_json, print_table
from atf.errors import InvalidInput
from atf.trading.bot import Bot, BotStatus
from atf.trading.bot_checks import Review
from atf.trading.bot_store import ConfigEdit, NewBot
from atf.trading.config_changes import merged

app = typer.Typer()
_SORTS: Final = (
    *("id", "name", "desired_state", "status", "trading_state", "started_at", "last_heartbeat", "error_count"),
    *("current_balance", "total_pnl", "created_at", "updated_at"),
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What you call it.", metavar="NAME")],
    config: ConfigOption = None,
    symbols: SymbolOption = None,
    timeframe: TimeframeOption = None,
    strategy: StrategyOption = None,
    params: ParamOption = None,
    capital: CapitalOption = None,
    broker: BrokerOption = None,
    broker_options: BrokerOptionsOption = None,
    provider: ProviderOption = None,
    risk: RiskOption = None,
    policy: PolicyOption = None,
    calendar: CalendarOption = None,
    hours: HoursOption = None,
    tz: TzOption = None,
    note: NoteOption = "",
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Add a bot, of a file, of options, or of both, where options go first. It does not run until it is started.

    Example: atf bots add crosser --symbol BTCUSDT --timeframe 1h --strategy sma_cross --param fast=10
    --param slow=30 --capital 10000 --broker paper
    """
    options = ConfigOptions(
        symbols, timeframe, strategy, params, capital, broker, broker_options, provider, risk, policy, calendar,
        hours, tz,
    )  # fmt: skip
    document = _with_options({} if config is None else document_in(config), options)

    async def work(client: Client) -> tuple[Bot, Review]:
        review = await client.bots.validate(client.user_id, document)
        return await client.bots.add(client.user_id, NewBot(name, document, note)), review

    bot, review = with_client(user, work)
    if as_json:
        print_json(bot)
    else:
        typer.echo(f"bot {bot.id} added: {bot.name}, {_what(bot)}; start it with: atf bots start {bot.id}")
    _warn(review)


@app.command("list")
def list_bots(
    status: Annotated[
        BotStatus | None, typer.Option("--status", help="Only those that are this now.", show_choices=True)
    ] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Sort by this field. Default: oldest first.")] = None,
    after: Annotated[
        int, typer.Option("--after", min=0, help="Only those with a larger number: the next page.")
    ] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many, oldest first.")] = 200,
    watch: WatchOption = False,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """List bots: what is wished, what is, and what they are worth.

    Example: atf bots list --status running --sort total_pnl
    """

    async def fetch(client: Client) -> list[Bot]:
        found = await client.bots.list_bots(client.user_id, status, after_id=after, limit=limit)
        return sorted_by(found, sort, _SORTS)

    def draw(bots: Sequence[Bot]) -> None:
        if as_json:
            print_json(list(bots))
            return
        columns = ("id", "name", "trades", "wish", "status", "trading", "started", "balance", "pnl", "errors")
        print_table("Bots", columns, [_row(bot) for bot in bots])

    show_list(user, fetch, draw, watch=watch)


@app.command()
def show(bot_id: BotIdArgument, user: UserOption = "owner", as_json: JsonOption = False) -> None:
    """Show a bot: its configuration, what is wished and what is.

    Example: atf bots show 1
    """
    bot = with_client(user, lambda client: client.bots.get(client.user_id, bot_id))
    if as_json:
        print_json(bot)
    else:
        print_fields(_fields(bot))


@app.command()
def edit(
    bot_id: BotIdArgument,
    config: ConfigOption = None,
    patch: Annotated[
        str | None, typer.Option("--patch", help="What to change, as a JSON merge patch: JSON, @FILE, or -.")
    ] = None,
    symbols: SymbolOption = None,
    timeframe: TimeframeOption = None,
    strategy: StrategyOption = None,
    params: ParamOption = None,
    capital: CapitalOption = None,
    broker: BrokerOption = None,
    broker_options: BrokerOptionsOption = None,
    provider: ProviderOption = None,
    risk: RiskOption = None,
    policy: PolicyOption = None,
    calendar: CalendarOption = None,
    hours: HoursOption = None,
    tz: TzOption = None,
    version: Annotated[
        int | None, typer.Option("--version", help="Only if it is still this version, as `show` tells it.")
    ] = None,
    note: NoteOption = "",
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Change a configuration: all of it with --config, else what is given; null in a patch takes a field out.

    Example: atf bots edit 1 --param fast=12 --patch '{"risk": {"max_order_value": null}}' --note "a bit slower"
    """
    options = ConfigOptions(
        symbols, timeframe, strategy, params, capital, broker, broker_options, provider, risk, policy, calendar,
        hours, tz,
    )  # fmt: skip
    wanted = _edit(config, patch, options, version, note)

    async def work(client: Client) -> tuple[Bot, Bot]:
        before = await client.bots.get(client.user_id, bot_id)
        return before, await client.bots.edit(client.user_id, bot_id, wanted)

    before, bot = with_client(user, work)
    if as_json:
        print_json(bot)
    elif bot.version == before.version:
        typer.echo(f"bot {bot.id} says that already: it stays at version {bot.version}")
    else:
        typer.echo(f"bot {bot.id} has version {bot.version} now: {_what(bot)}")


@app.command()
def validate(
    given: Annotated[
        str | None,
        typer.Argument(help="A bot's number, or JSON, @FILE, or -.", metavar="CONFIG"),
    ] = None,
    config: ConfigOption = None,
    user: UserOption = "owner",
    as_json: JsonOption = False,
) -> None:
    """Say all that is wrong with a configuration, or that nothing is; nothing is stored.

    Example: atf bots validate @bot.json
    """
    if (given is None) == (config is None):
        raise InvalidInput("give either a configuration or --config", field="CONFIG")

    async def work(client: Client) -> Review:
        if config is not None:
            document = document_in(config)
        elif (text := str(given).strip()).isdecimal():
            document = (await client.bots.get(client.user_id, int(text))).config
        else:
            document = document_given(text, "config")
        return await client.bots.validate(client.user_id, document)

    review = with_client(user, work)
    if as_json:
        print_json({"is_valid": True, "warnings": review.warnings})
    else:
        typer.echo("nothing is wrong with it")
        _warn(review)


for part in (bot_words, bot_versions, bot_records, bot_logs):
    app.registered_commands += part.app.registered_commands


def _edit(
    config: str | None, patch: str | None, options: ConfigOptions, version: int | None, note: str
) -> ConfigEdit:
    if config is not None and patch is not None:
        raise InvalidInput("give either --config or --patch", field="--patch")
    if config is not None:
        return ConfigEdit(config=_with_options(document_in(config), options), version=version, note=note)
    changes = options.patch()
    if patch is not None:
        given = document_given(patch, "--patch")
        if not isinstance(given, Mapping):
            raise InvalidInput("must be a JSON object", field="--patch")
        changes = _joined(given, changes)
    if not changes:
        raise InvalidInput("nothing to change was given; see `atf bots edit --help`")
    return ConfigEdit(patch=changes, version=version, note=note)


def _joined(patch: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return one patch that does what two do, one after the other."""
    result = dict(patch)
    for name, value in more.items():
        known = result.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            value = _joined(known, value)
        result[name] = value
    return result


def _with_options(document: Any, options: ConfigOptions) -> Any:
    """Return a document with options on top of it; what is no object is refused by who reads it."""
    return merged(document, options.patch()) if isinstance(document, Mapping) else document


def _warn(review: Review) -> None:
    for warning in review.warnings:
        typer.echo(f"note: {warning}", err=True)


def _what(bot: Bot) -> str:
    """Return what it trades; a configuration that was changed by hand in the database may say anything."""
    config, strategy = bot.config, bot.config.get("strategy")
    symbols = config.get("symbols") or [config.get("symbol")]
    name = strategy.get("name") if isinstance(strategy, Mapping) else None
    listed = ", ".join(map(str, symbols)) if isinstance(symbols, list) else symbols
    return f"{listed} {config.get('timeframe')}, {name}"


def _row(bot: Bot) -> tuple[object, ...]:
    return (
        bot.id,
        bot.name,
        _what(bot),
        bot.desired_state,
        bot.status,
        bot.trading_state,
        bot.started_at,
        bot.current_balance,
        bot.total_pnl,
        bot.error_count,
    )


def _vitals(bot: Bot) -> dict[str, object]:
    """Return what it did last; nothing of a bot that has not run yet."""
    vitals = bot.extra_metadata.get("vitals", {})
    memory = vitals.get("memory_bytes")
    shown = {
        "last bar": vitals.get("bar_at"),
        "last answer of its venue": vitals.get("ack_at"),
        "bars waiting": vitals.get("waiting"),
        "memory (MiB)": None if memory is None else round(memory / 2**20),
    }
    return shown if vitals else {}


def _fields(bot: Bot) -> dict[str, object]:
    return {
        "id": bot.id,
        "name": bot.name,
        "trades": _what(bot),
        "wish": bot.desired_state,
        "status": bot.status,
        "trading": bot.trading_state,
        "started": bot.started_at,
        "last heartbeat": bot.last_heartbeat,
        **_vitals(bot),
        "node": bot.node_id,
        "errors": bot.error_count,
        "last error": bot.last_error,
        "balance": bot.current_balance,
        "pnl": bot.total_pnl,
        "created": bot.created_at,
        "updated": bot.updated_at,
        "version": bot.version,
        "configuration": dict(bot.config),
    }
