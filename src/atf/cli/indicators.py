"""``atf indicators``: what there is, what each needs, and its values on real bars."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atf.bootstrap.client import Client
from atf.cli.client import with_client
from atf.cli.json_input import named_value
from atf.cli.output import JsonOption, print_fields, print_json, print_table
from atf.indicators import registry
from atf.indicators.indicator import Indicator, IntegerParameter, NumberParameter, Parameter
from atf.market.bars import Series, Timeframe

app = typer.Typer()

NameArgument = Annotated[str, typer.Argument(help="As `atf indicators list` shows it.", metavar="NAME")]


@app.command("list")
def list_indicators(as_json: JsonOption = False) -> None:
    """List the indicators, those of plug-ins last.

    Example: atf indicators list
    """
    known = registry.definitions()
    if as_json:
        print_json([_described(one) for one in known])
        return
    rows = [
        (one.name, ", ".join(p.name for p in one.parameters), ", ".join(one.outputs), one.doc) for one in known
    ]
    print_table("Indicators", ("name", "parameters", "outputs", "what it tells"), rows)


@app.command()
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show an indicator: parameters with their ranges, outputs, what it reads.

    Example: atf indicators show macd
    """
    described = _described(registry.indicator_of(registry.resolve(name, {})))
    if as_json:
        print_json(described)
    else:
        print_fields(described)


@app.command()
def compute(
    symbol: Annotated[str, typer.Argument(help="Symbol, such as AAPL.")],
    timeframe: Annotated[Timeframe, typer.Argument(help="Timeframe of the bars.")],
    name: NameArgument,
    params: Annotated[
        list[str] | None, typer.Option("--param", help="A parameter, such as period=14; repeat it for more.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", help="Default: the first one.")] = None,
    last: Annotated[int, typer.Option("--last", min=1, max=10_000, help="How many bars.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Compute an indicator on the newest closed bars, as alerts do.

    Example: atf indicators compute AAPL 1d rsi --param period=14 --last 5
    """
    request = registry.resolve(name, dict(map(named_value, params or ())), output)

    async def work(client: Client) -> list[tuple[Any, float | None]]:
        return await client.indicator_values(Series(symbol, timeframe), request, last)

    values = with_client("owner", work)
    if as_json:
        print_json([{"bar": bar, "value": value} for bar, value in values])
    else:
        print_table(f"{name} of {symbol} {timeframe}", ("bar", request.output), values)


def _described(one: Indicator) -> dict[str, Any]:
    reads = ", ".join(one.columns) if one.columns else "the column that `source` names"
    return {
        "name": one.name,
        "aliases": list(one.aliases),
        "what it tells": one.doc,
        "outputs": list(one.outputs),
        "reads": reads,
        "parameters": {parameter.name: _range(parameter) for parameter in one.parameters},
    }


def _range(parameter: Parameter) -> str:
    match parameter:
        case IntegerParameter() | NumberParameter():
            return f"{parameter.low:g} to {parameter.high:g}, {parameter.default:g} if not given"
        case _:
            return f"open, high, low, close or volume, {parameter.default} if not given"
