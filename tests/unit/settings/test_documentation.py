"""docs/settings.md has a row for every setting, with its names, default and meaning."""

from pathlib import Path

from atf.settings import Settings
from atf.settings.names import Setting, settings_of

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
OF_THE_MACHINE = {"home": "`~/.local/share/atf`, root: `/var/lib/atf`"}
"""Defaults that are not the same everywhere."""


def row_of(setting: Setting) -> str:
    """Return the setting's row; a changed setting is documented by putting this row into the page."""
    cells = (
        ", ".join(f"`{name}`" for name in setting.variables) or "-",
        f"`{setting.file_key}`" if setting.file_key else "-",
        OF_THE_MACHINE.get(setting.name) or default_of(setting),
        "s" if setting.path[-1].endswith("_seconds") else "",
        setting.info.description or "",
    )
    return f"| {' | '.join(cells)} |"


def default_of(setting: Setting) -> str:
    match setting.value_in(Settings.model_construct()):
        case None:
            return "none"
        case bool() as value:
            return str(value).lower()
        case int() | float() as value:
            return f"{value:g}"
        case value:
            return str(value)


def test_every_setting_is_documented_as_it_is() -> None:
    page = PAGE.read_text("utf-8").splitlines()
    missing = [row for row in map(row_of, settings_of(Settings)) if row not in page]
    assert missing == []


def test_no_other_setting_is_documented() -> None:
    rows = {row_of(setting) for setting in settings_of(Settings)}
    lines = PAGE.read_text("utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| variable"))
    table = [line for line in lines[begin + 2 :] if line.startswith("|")]
    assert set(table) - rows == set()
