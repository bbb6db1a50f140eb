"""What must not be said: values of secrets, taken out of logs, errors and answers.

Who opens a secret says so here; who writes a text down asks here. A user's value is kept out of the texts of the
task that works with it, and not of others: from a mask in an error of one's own nobody may learn that somebody
else has that password. What the services themselves use is kept out of all texts of the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "***"
SHORTEST: Final = 4
"""Characters: shorter values would be found in every text."""
SHORTEST_EVERYWHERE: Final = 8
_LONG_LINE: Final = 16

_HERE: Final[ContextVar[frozenset[str]]] = ContextVar("what must not be said here", default=frozenset())
_EVERYWHERE: Final[set[str]] = set()


def conceal(value: str) -> None:
    """Keep a value out of all texts of this task, and of those that it starts, from now on."""
    _HERE.set(_HERE.get() | _spellings(value, SHORTEST))


def conceal_everywhere(value: str) -> None:
    """Keep a value out of all texts of this process from now on."""
    _EVERYWHERE.update(_spellings(value, SHORTEST_EVERYWHERE))


@contextmanager
def secrecy() -> Iterator[None]:
    """Forget at the end of the block what was concealed in it."""
    token = _HERE.set(_HERE.get())
    try:
        yield
    finally:
        _HERE.reset(token)


def concealed(text: str) -> str:
    """Return a text with the values that must not be said masked."""
    here = _HERE.get()
    if not here and not _EVERYWHERE:
        return text
    for known in sorted((one for one in here | _EVERYWHERE if one in text), key=len, reverse=True):
        text = text.replace(known, MASK)
    return text


def concealed_document(node: Any) -> Any:
    """Return a JSON document with the values masked in all its texts."""
    match node:
        case str():
            return concealed(node)
        case Mapping():
            return {name: concealed_document(part) for name, part in node.items()}
        case list():
            return [concealed_document(part) for part in node]
        case _:
            return node


def _spellings(value: str, shortest: int) -> frozenset[str]:
    """A value as it is, as Python, JSON and URLs spell it, and the long lines of one like a PEM key."""
    lines = [line for line in value.splitlines() if len(line) >= _LONG_LINE]
    spelt = (repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    in_url = quote(value.encode("utf-8", "replace"), safe="")
    return frozenset(one for one in (value, value.strip(), *spelt, in_url, *lines) if len(one) >= shortest)
