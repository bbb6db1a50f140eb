"""The table of docs/bots.md: what a bot's configuration may say, by the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Final

FILE: Final = resources.files("atf.trading").joinpath("schemas/bot.schema.json")
_HEAD: Final = "| field | value | default | meaning |\n|---|---|---|---|"


def config_table() -> str:
    """Return the table as Markdown: one line a field."""
    schema = json.loads(FILE.read_text("utf-8"))
    return "\n".join([_HEAD, *_rows(schema, "", is_needed=True)])


def _rows(section: Mapping[str, Any], path: str, *, is_needed: bool) -> Iterator[str]:
    for name, field in section["properties"].items():
        below = f"{path}.{name}" if path else name
        needed = is_needed and name in section.get("required", ())
        if "properties" not in field:
            cells = (f"`{below}`", _value(field), _default(field, is_needed=needed), field["description"])
            yield f"| {' | '.join(cells)} |"
            continue
        if "description" in field:
            yield f"| `{below}` | object | {'required' if needed else '-'} | {field['description']} |"
        yield from _rows(field, below, is_needed=needed)


def _default(field: Mapping[str, Any], *, is_needed: bool) -> str:
    if is_needed:
        return "required"
    return f"`{json.dumps(field['default'])}`" if "default" in field else "-"


def _value(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " ".join(f"`{one}`" for one in field["enum"])
    if field["type"] == "array":
        most = f", at most {field['maxItems']}" if "maxItems" in field else ""
        return f"list of {_value(field['items'])}{most}"
    if isinstance(field["type"], list):
        return "amount"
    span = f", {field['minimum']} to {field['maximum']}" if "minimum" in field else ""
    return f"{field['type']}{span}"


if __name__ == "__main__":
    print(config_table())
