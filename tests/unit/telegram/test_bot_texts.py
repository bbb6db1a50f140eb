import re
from pathlib import Path

import pytest
from fluent.syntax import ast
from tests.catalogues import entries, variables

import atf
from atf.telegram.commands import all_commands
from atf.telegram.texts import bot_languages, bot_texts

PACKAGE = "atf.telegram"
SOURCE = Path(atf.__file__).parent
USED = re.compile(r"""\btexts\(\s*(?:\n\s*)?["']([a-z][a-z0-9-]*)["']""")
CHOSEN = re.compile(r"""["']((?:bot|language)-[a-z0-9-]+)["']""")
"""Ids that are chosen before they are looked up, as by a condition."""


def test_the_bot_speaks_english_and_german() -> None:
    assert bot_languages() == ("de", "en")


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_catalogue_has_no_line_that_is_not_understood_and_no_text_twice(language: str) -> None:
    found = entries(PACKAGE, language)
    assert [entry.content for entry in found if isinstance(entry, ast.Junk)] == []
    ids = [entry.id.name for entry in found if isinstance(entry, ast.Message)]
    assert len(ids) == len(set(ids))


def test_every_language_says_all_that_english_says_with_the_same_variables() -> None:
    assert variables(PACKAGE, "de") == variables(PACKAGE, "en")


def test_every_text_that_is_used_is_there() -> None:
    rooms = [*(SOURCE / "telegram").rglob("*.py"), *(SOURCE / "services/telegram").rglob("*.py")]
    sources = [path.read_text("utf-8") for path in rooms]
    used = {found for source in sources for pattern in (USED, CHOSEN) for found in pattern.findall(source)}
    assert "bot-stranger" in used
    assert sorted(name for name in used if not bot_texts("en").has(name)) == []


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: command.name)
def test_every_command_has_a_line_for_the_menu_and_an_explanation(command) -> None:  # type: ignore[no-untyped-def]
    for language in bot_languages():
        assert bot_texts(language).has(f"help-{command.name}")
        assert 3 <= len(bot_texts(language)(f"command-{command.name}")) <= 256  # what Telegram takes
    assert re.fullmatch(r"[a-z0-9_]{1,32}", command.name)
