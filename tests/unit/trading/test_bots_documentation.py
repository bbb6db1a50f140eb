"""docs/bots.md has the fields of the schema, every command, and an example that is accepted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from tests.bot_config_table import config_table

from atf.cli.bots import app
from atf.trading.bot_config import parse_bot_config

PAGE: Final = (Path(__file__).parents[3] / "docs" / "bots.md").read_text("utf-8")


def test_the_table_of_fields_is_the_schemas() -> None:
    assert config_table() in PAGE, "print it with: python -m tests.bot_config_table"


def test_every_command_is_told_of() -> None:
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        assert re.search(rf"`(atf bots )?{name} (ID|NAME|CONFIG|--)", PAGE), name


def test_the_configuration_that_is_shown_is_accepted() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert parse_bot_config(json.loads(example)).symbols == ("AAPL", "MSFT")
