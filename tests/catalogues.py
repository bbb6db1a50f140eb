"""What stands in a catalogue of texts: its messages, and the variables that each of them has."""

from __future__ import annotations

from fluent.runtime import FluentResource
from fluent.syntax import ast
from fluent.syntax.visitor import Visitor

from atf.notifications.texts import catalogue


def entries(package: str, language: str) -> list[ast.EntryType]:
    """All that was found in a catalogue, also what is not understood."""
    return FluentResource(catalogue(package, language)).body


def variables(package: str, language: str) -> dict[str, set[str]]:
    """The variables of each message, by its id."""
    return {one.id.name: _names_in(one) for one in entries(package, language) if isinstance(one, ast.Message)}


def _names_in(message: ast.Message) -> set[str]:
    found: set[str] = set()

    class Names(Visitor):
        def visit_VariableReference(self, node: ast.VariableReference) -> None:  # noqa: N802 - Fluent's name
            found.add(node.id.name)

    Names().visit(message)
    return found
