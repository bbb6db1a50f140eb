"""``atf config``: what the settings are and where each comes from."""

from __future__ import annotations

import typer

from atf.cli.output import JsonOption, print_json, print_table
from atf.settings import explain_settings

app = typer.Typer()


@app.callback()
def _config() -> None:
    """Show the settings and where each comes from."""


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Show every setting, its value, and where it comes from; passwords are masked.

    Example: atf config show --json
    """
    explained = explain_settings()
    if as_json:
        print_json(explained)
        return
    rows = [(one.name, one.value, one.origin) for one in explained.settings]
    print_table("Settings", ("setting", "value", "from"), rows)
    typer.echo(f"config file: {explained.config_file or 'none'}")
    if explained.unknown_variables:
        typer.echo(f"not settings, ignored: {', '.join(explained.unknown_variables)}")
