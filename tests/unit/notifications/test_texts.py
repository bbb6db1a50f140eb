import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fluent.syntax import ast
from tests.catalogues import entries, variables

import atf
from atf.notifications.texts import PACKAGES, Texts, installed_languages, texts_in

SOURCE = Path(atf.__file__).parent / "notifications"
USED = re.compile(r"""\b(?:words|texts_in\([^)]*\)|texts|_texts)\(\s*["']([a-z][a-z0-9-]*)["']""")


def test_english_and_german_are_installed() -> None:
    assert installed_languages() == ("de", "en")


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_catalogue_has_no_line_that_is_not_understood(language: str) -> None:
    found = entries(PACKAGES[0], language)
    assert [entry.content for entry in found if isinstance(entry, ast.Junk)] == []
    ids = [entry.id.name for entry in found if isinstance(entry, ast.Message)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("language", sorted({*installed_languages()} - {"en"}))
def test_every_language_says_all_that_english_says_with_the_same_variables(language: str) -> None:
    assert variables(PACKAGES[0], language) == variables(PACKAGES[0], "en")


def test_every_text_that_is_used_is_there() -> None:
    used = {
        (found, str(path))
        for ending in ("py", "j2")
        for path in SOURCE.rglob(f"*.{ending}")
        if "telegram" not in path.parent.parts[len(SOURCE.parts) :]  # the bot has catalogues of its own
        for found in USED.findall(path.read_text("utf-8"))
    }
    assert {"digest-title", "alert-bar"} <= {name for name, _ in used}
    known = variables(PACKAGES[0], "en")
    assert [(name, path) for name, path in used if name not in known] == []


def test_every_text_is_used_or_names_a_type() -> None:
    sources = [path.read_text("utf-8") for ending in ("py", "j2") for path in SOURCE.rglob(f"*.{ending}")]
    used = {found for source in sources for found in USED.findall(source)}
    known = variables(PACKAGES[0], "en")
    assert [name for name in known if name not in used and not name.startswith("type-")] == []


@pytest.mark.parametrize(
    ("language", "count", "text"),
    [
        ("en", 1, "1 message"),
        ("en", 5, "5 messages"),
        ("de", 1, "1 Nachricht"),
        ("de", 5000, "5.000 Nachrichten"),
    ],
)
def test_numbers_choose_their_form(language: str, count: int, text: str) -> None:
    assert Texts(language)("digest-title", count=count) == text


@pytest.mark.parametrize("language", ["de-AT", "de_CH", "de"])
def test_a_territory_speaks_its_language(language: str) -> None:
    assert Texts(language)("type-report") == "Bericht"


@pytest.mark.parametrize("language", ["fr", "", "../en", "x" * 1000, "tlh-🖖"])
def test_other_languages_are_told_in_english(language: str) -> None:
    assert Texts(language)("type-report") == "Report"


def test_what_one_language_lacks_is_told_in_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = room_above(tmp_path, monkeypatch, "atf_room_lacking")
    texts = Texts("de", packages=(*PACKAGES, package))
    assert texts("bot-hello", name="Ada") == "Hallo Ada"
    assert texts("bot-only-english") == "Only here"
    assert texts("type-report") == "Bericht"


def room_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """Make a package with catalogues of its own."""
    for language, source in (
        ("en", "bot-hello = Hello { $name }\nbot-only-english = Only here"),
        ("de", "bot-hello = Hallo { $name }"),
    ):
        folder = tmp_path / name / "catalogues" / language
        folder.mkdir(parents=True)
        (folder / "bot.ftl").write_text(source, "utf-8")
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        pytest.param(10**6000, id="6001 digits"),
        -(10**20),
        Decimal("1e999999999"),
        Decimal("1e-999999"),
        Decimal("sNaN"),
        float("nan"),
        float("inf"),
        "{ $x } { -term } \u2068",
        "x" * 100_000,
        ["a"],
        {"a": 1},
        object(),
        datetime(2027, 3, 1, tzinfo=UTC),
    ],
)
def test_no_value_is_an_error(value: Any) -> None:
    text = Texts("de")("screener-name", name=value)
    assert text.startswith("Screener ")
    assert len(text) < 1100


def test_nor_is_a_text_that_is_missing_or_lacks_a_value() -> None:
    assert Texts("de")("no-such-text", a=1) == "no-such-text"
    assert "Screener" in Texts("de")("screener-name")


def test_no_mark_that_cannot_be_seen_is_put_around_values() -> None:
    assert Texts("en")("screener-name", name="שלום") == "Screener שלום"


def test_types_have_names_and_unknown_ones_their_own() -> None:
    assert texts_in("de").type_name("alert_action_failed") == "Aktion nicht ausgeführt"
    assert texts_in("de").type_name("of_a_plug_in") == "of_a_plug_in"
