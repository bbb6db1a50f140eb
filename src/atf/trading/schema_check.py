"""Whether the schema of bots is one, and accepts the examples in it."""

from __future__ import annotations

from importlib import resources

from atf.jobs import schema_check
from atf.jobs.schema_check import SchemaFinding


def check_bot_schemas() -> list[SchemaFinding]:
    """Return one finding for each schema in the folder and for each that is missing, by name."""
    return schema_check.check_schemas(resources.files("atf.trading").joinpath("schemas"), ("bot",))
