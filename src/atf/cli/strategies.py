"""``atf strategies``: which there are, and whether one works before a bot trades by it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from atf.bootstrap.strategies import CheckedStrategy, check_strategy, known_strategies
from atf.cli.json_input import named_value
from atf.cli.output import JsonOption, print_fields, print_json, print_table
from atf.settings import load_settings

app = typer.Typer()


@app.command("list")
def list_strategies(as_json: JsonOption = False) -> None:
    """List the strategies: built-in ones, those of packages, and files in the folder `strategies` of ATF's home.

    Example: atf strategies list
    """
    known = known_strategies(load_settings())
    if as_json:
        print_json([{"name": one.name, "origin": one.origin} for one in known])
    else:
        print_table("Strategies", ("strategy", "from"), [(one.name, one.origin) for one in known])


@app.command()
def check(
    strategy: Annotated[
        str, typer.Argument(help="FILE.py, FILE.py:CLASS, or a name that `list` shows.", metavar="FILE")
    ],
    params: Annotated[
        list[str] | None, typer.Option("--param", help="A parameter, such as fast=5; repeat it for more.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Load a strategy in a process of its own, show its parameters, and run it over made-up bars.

    Example: atf strategies check my_strategy.py --param fast=5
    """
    given = dict(map(named_value, params or ()))
    checked = asyncio.run(check_strategy(load_settings(), strategy, given))
    if as_json:
        print_json([_described(one) for one in checked])
        return
    for number, one in enumerate(checked):
        if number:
            typer.echo()
        print_fields(_described(one))


def _described(one: CheckedStrategy) -> dict[str, object]:
    return {
        "strategy": one.facts.name,
        "what it does": one.facts.doc or None,
        "parameters": dict(one.facts.params),
        "keeps state": one.facts.keeps_state,
        "bars it needs": one.trial.minimum_period,
        "made-up bars": one.trial.bars,
        "orders": one.trial.orders,
        "fills": one.trial.fills,
        "said": list(one.trial.said),
    }
