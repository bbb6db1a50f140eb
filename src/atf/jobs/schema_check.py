"""Whether the schemas that ship in a folder are schemas, and accept the examples in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match

from atf.errors import InvariantViolation, shown
from atf.jobs.sensitive_schema import marked_fields

REQUIRED_SCHEMAS: Final = ("backup", "data_processing", "notification", "report", "screener")
"""The schemas of job types that the code asks for by name; that of alerts lies in ``alerts``."""
_ENDING: Final = ".schema.json"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class SchemaFinding:
    """What was found of one file: how many of its examples fit, or what is wrong."""

    file: str
    examples: int
    problem: str | None = None


def check_job_schemas() -> list[SchemaFinding]:
    """Return one finding for each schema of a job type's ``task_params``."""
    return check_schemas(resources.files("atf.jobs").joinpath("schemas"), REQUIRED_SCHEMAS)


def check_schemas(folder: Traversable, required: Sequence[str]) -> list[SchemaFinding]:
    """Return one finding for each schema in the folder and for each that is missing, by name."""
    return sorted(_findings(folder, required), key=lambda finding: finding.file)


def _findings(folder: Traversable, required: Sequence[str]) -> Iterator[SchemaFinding]:
    found = {one.name: one for one in (folder.iterdir() if folder.is_dir() else ()) if one.name.endswith(_ENDING)}
    for name in required:
        if f"{name}{_ENDING}" not in found:
            yield SchemaFinding(f"{name}{_ENDING}", 0, "is missing: install ATF again")
    for name, file in found.items():
        yield _check(name, file)


def _check(name: str, file: Traversable) -> SchemaFinding:
    try:
        schema = json.loads(file.read_text("utf-8"))
        return _check_examples(name, _require_schema(schema))
    except json.JSONDecodeError as exc:
        return SchemaFinding(name, 0, f"line {exc.lineno}, column {exc.colno}: is not JSON: {exc.msg}")
    except SchemaError as exc:
        return SchemaFinding(name, 0, f"{exc.json_path}: is not JSON Schema 2020-12: {exc.message}")
    except (OSError, ValueError, RecursionError, InvariantViolation) as exc:
        return SchemaFinding(name, 0, f"cannot be used: {exc}")


def _require_schema(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise ValueError(f"must be a JSON object, got {shown(schema)}")
    if schema.get("$schema") != _DIALECT:
        raise ValueError(f"$schema must be {_DIALECT}, got {shown(schema.get('$schema'))}")
    Draft202012Validator.check_schema(schema)
    marked_fields(schema)
    return schema


def _check_examples(name: str, schema: dict[str, Any]) -> SchemaFinding:
    examples = schema.get("examples", [])
    if not examples:
        return SchemaFinding(name, 0, "examples: is missing; at least one document shows what is meant")
    validator = Draft202012Validator(schema)
    for index, example in enumerate(examples):
        error = best_match(validator.iter_errors(example))
        if error is not None:
            where = f"examples[{index}]{error.json_path.removeprefix('$')}"
            return SchemaFinding(name, index, f"{where}: {error.message}")
    return SchemaFinding(name, len(examples))
