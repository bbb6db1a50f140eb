"""Sensitive values within JSON documents: finding them, masking them, and taking back masks that come back. Pure.

A sealed value is an object with the one name ``$sealed``. People see ``***`` in its place, and may send that back
for "as it was".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from atf.errors import InvalidInput
from atf.secrecy import MASK

MARK: Final = "$sealed"

Place = tuple[str | int, ...]
"""The way to a value: names of objects and positions in lists."""
Change = Callable[[Place, Any], Any]


@dataclass(frozen=True, slots=True)
class Marked:
    """Which values of a document are sensitive: itself, or some below it; false if none is.

    ``others``: every element of a list, and every name of an object that is not in ``fields``.
    """

    is_sensitive: bool = False
    fields: Mapping[str, Marked] = field(default_factory=dict)
    others: Marked | None = None

    def __bool__(self) -> bool:
        return self.is_sensitive or bool(self.fields) or self.others is not None

    def below(self, step: str | int) -> Marked:
        """Return what is sensitive of a part."""
        if isinstance(step, str) and step in self.fields:
            return self.fields[step]
        return self.others or NOTHING


NOTHING: Final = Marked()


def is_sealed(value: object) -> bool:
    """Whether a value is a sealed one."""
    return isinstance(value, Mapping) and value.keys() == {MARK}


def changed(node: Any, marked: Marked, change: Change, place: Place = ()) -> Any:
    """Return a document with its sensitive values changed; what is null is no value."""
    if not marked or node is None:
        return node
    if marked.is_sensitive:
        return change(place, node)
    match node:
        case Mapping():
            return {
                name: changed(part, marked.below(name), change, (*place, name)) for name, part in node.items()
            }
        case list():
            return [
                changed(part, marked.below(index), change, (*place, index)) for index, part in enumerate(node)
            ]
        case _:
            return node


def masked(node: Any, marked: Marked = NOTHING) -> Any:
    """Return a document fit to be shown: what is sealed is masked wherever it is, what is marked in any case."""
    if is_sealed(node) or (marked.is_sensitive and node is not None):
        return MASK
    match node:
        case Mapping():
            return {name: masked(part, marked.below(name)) for name, part in node.items()}
        case list():
            return [masked(part, marked.below(index)) for index, part in enumerate(node)]
        case _:
            return node


def value_at(node: Any, place: Place) -> Any:
    """Return what is at a place of a document, None if there is nothing."""
    for step in place:
        match node, step:
            case Mapping(), str():
                node = node.get(step)
            case list(), int() if step < len(node):
                node = node[step]
            case _:
                return None
    return node


def unmasked(wanted: Any, known: Any, marked: Marked, *, root: str) -> Any:
    """Return a document in which masks stand for the values that are known at the same place.

    In a list a mask counts only if the list is as long as it was and the element says nothing else than before:
    another element's secret must not come into its place. Errors: InvalidInput that names the field.
    """

    def restored(place: Place, value: Any) -> Any:
        if value != MASK:
            return value
        found = value_at(known, place)
        if found is None or not _is_as_it_was(wanted, known, marked, place):
            raise InvalidInput(
                f"{MASK} stands for a stored value, and none is here that it can mean: give the value itself",
                field=path_of(root, place),
            )
        return found

    return changed(wanted, marked, restored)


def _is_as_it_was(wanted: Any, known: Any, marked: Marked, place: Place) -> bool:
    """Whether the lists on the way to a place are as long as they were, and their elements look the same."""
    for depth, step in enumerate(place):
        if isinstance(step, int):
            now, before = value_at(wanted, place[:depth]), value_at(known, place[:depth])
            if len(now) != len(before) or now[step] != masked(before[step], _at(marked, place[: depth + 1])):
                return False
    return True


def _at(marked: Marked, place: Place) -> Marked:
    for step in place:
        marked = marked.below(step)
    return marked


def path_of(root: str, place: Place) -> str:
    """Return a place as errors name it, such as ``task_params.hooks[0].token``."""
    return root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
