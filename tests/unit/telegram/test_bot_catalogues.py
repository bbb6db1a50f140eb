import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from fluent.runtime import FluentResource
from fluent.syntax import ast
from fluent.syntax.visitor import Visitor

import atf.telegram
from atf.notifications.texts import catalogue
from atf.telegram.commands import all_commands
from atf.telegram.paging import page_of
from atf.telegram.texts import bot_languages, bot_texts

PACKAGE = "atf.telegram"
USED = re.compile(r"""\btexts\(\s*["']([a-z][a-z0-9-]*)["']""")
LONGEST_DESCRIPTION = 256
"""Characters that Telegram takes for a command of a menu."""


def messages(language: str) -> Mapping[str, ast.Message]:
    entries = FluentResource(catalogue(PACKAGE, language)).body
    assert [entry.content for entry in entries if isinstance(entry, ast.Junk)] == []
    found = [entry for entry in entries if isinstance(entry, ast.Message)]
    names = [entry.id.name for entry in found]
    assert sorted(names) == sorted(set(names))
    return {entry.id.name: entry for entry in found}


def variables(message: ast.Message) -> set[str]:
    found: set[str] = set()

    class Names(Visitor):
        def visit_VariableReference(self, node: ast.VariableReference) -> None:  # noqa: N802 - Fluent's name
            found.add(node.id.name)

    Names().visit(message)
    return found


@pytest.mark.parametrize("language", sorted({*bot_languages()} - {"en"}))
def test_every_language_says_all_that_english_says_with_the_same_variables(language: str) -> None:
    wanted = {name: variables(message) for name, message in messages("en").items()}
    assert {name: variables(message) for name, message in messages(language).items()} == wanted


@pytest.mark.parametrize("language", bot_languages())
def test_every_command_has_a_line_for_the_menu_and_says_what_it_is_for(language: str) -> None:
    known = messages(language)
    for command in all_commands():
        assert f"help-{command.name}" in known
        assert 1 <= len(bot_texts(language)(f"command-{command.name}")) <= LONGEST_DESCRIPTION


def test_every_text_that_is_used_is_there() -> None:
    folder = Path(atf.telegram.__file__).parent
    used = {name for path in folder.rglob("*.py") for name in USED.findall(path.read_text("utf-8"))}
    assert "bot-welcome" in used
    assert used - messages("en").keys() == set()


@pytest.mark.parametrize(
    ("count", "number", "shown", "pages"),
    [(0, 1, [], 1), (10, 1, range(10), 1), (11, 2, [10], 2), (25, 99, range(20, 25), 3), (25, -1, range(10), 3)],
)
def test_a_page_is_a_part_of_a_list(count: int, number: int, shown: range | list[int], pages: int) -> None:
    page = page_of(range(count), number)
    assert (list(page.items), page.count) == (list(shown), pages)
    labels = [button.command for row in page.turning("list page", bot_texts("en")) for button in row]
    beside = [one for one in (page.number - 1, page.number + 1) if 1 <= one <= pages]
    assert labels == [f"list page {one}" for one in beside]
