"""AlertSchemaValidator: a configuration's shape against its JSON Schema, with errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from atf.errors import InvalidAlertRule
from atf.jobs.schema_validator import SchemaValidator

_SCHEMAS: Final = SchemaValidator("atf.alerts", refusal=InvalidAlertRule)


class AlertSchemaValidator:
    """Checks documents against the schemas that ship in ``alerts/schemas``; each is read once."""

    def validate(self, document: object, schema: str = "alert") -> Mapping[str, Any]:
        """Return the document if its shape is right.

        Errors: InvalidAlertRule with the JSON path of the first thing that is wrong.
        """
        return _SCHEMAS.validate(document, schema)
