"""JSON objects as the database has them, read when somebody looks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any


def snapshot_of(stored: object) -> Mapping[str, Any]:
    """Return a stored object; what is no object says nothing, and the check of its kind refuses it alone."""
    return stored if isinstance(stored, dict) else {}


class StoredDocument(Mapping[str, Any]):
    """A JSON object as the database has it, read when somebody looks: a batch of alerts never does.

    What is no object says nothing, and the type's check refuses the run alone.
    """

    def __init__(self, text: str | None) -> None:
        self._text = text

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        return snapshot_of(None if self._text is None else json.loads(self._text))

    def __getitem__(self, name: str) -> Any:
        return self._document[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._document)

    def __len__(self) -> int:
        return len(self._document)
