"""Whether the schemas that ship in ``alerts/schemas`` are schemas, and accept the examples in them."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from atf.jobs import schema_check
from atf.jobs.schema_check import SchemaFinding

REQUIRED_SCHEMAS: Final = ("alert",)
"""The schemas that the code asks for by name."""


def check_schemas(folder: Traversable | None = None) -> list[SchemaFinding]:
    """Return one finding for each schema in the folder and for each that is missing, by name."""
    return schema_check.check_schemas(folder or schema_folder(), REQUIRED_SCHEMAS)


def schema_folder() -> Traversable:
    """Return where the schemas lie."""
    return resources.files("atf.alerts").joinpath("schemas")
