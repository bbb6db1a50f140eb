"""Which strategies there are, and which names lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.installed_packages import Installed

from atf.errors import InvalidInput
from atf.trading.strategy_catalogue import BUILT_IN, StrategyCatalogue, StrategyName


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "strategies"
    folder.mkdir(parents=True)
    for name in ("mine.py", "other.py", "_hidden.py", "notes.txt"):
        (folder / name).write_text("")
    (tmp_path / "outside.py").write_text("")
    (folder / "link.py").symlink_to(tmp_path / "outside.py")
    (folder / "inner").mkdir()
    (folder / "inner" / "deep.py").write_text("")
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b.py", StrategyName(Path("a/b.py"), "", None)),
        ("b.py:C", StrategyName(Path("b.py"), "", "C")),
        ("pack.age:C", StrategyName(None, "pack.age", "C")),
        ("word", StrategyName(None, "word", None)),
    ],
)
def test_a_name_is_taken_apart(text: str, name: StrategyName) -> None:
    assert StrategyName.parse(text) == name


@pytest.mark.parametrize("text", ["", "a b", "b.py:", "b.py:C.D", "a:b:c", "a/b", ":C", "a:"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        StrategyName.parse(text)


def test_built_in_ones_come_first_and_files_last(folder: Path) -> None:
    known = StrategyCatalogue(folder).known()
    assert [one.name for one in known] == [*sorted(BUILT_IN), "mine.py", "other.py"]


def test_without_a_folder_there_are_the_built_in_ones(tmp_path: Path) -> None:
    assert [one.name for one in StrategyCatalogue(tmp_path / "none").known()] == sorted(BUILT_IN)


@pytest.mark.parametrize(
    ("text", "target"),
    [("mine.py", "{}/mine.py"), ("mine.py:Mine", "{}/mine.py:Mine"), ("inner/deep.py:D", "{}/inner/deep.py:D")],
)
def test_a_file_of_the_folder_is_found(folder: Path, text: str, target: str) -> None:
    assert StrategyCatalogue(folder).resolve(text) == target.format(folder.resolve())


@pytest.mark.parametrize(
    "text",
    ["../../outside.py", "../../outside.py:X", "link.py:X", "/etc/passwd", "absent.py", "notes.txt", "inner"],
)
def test_nothing_leads_out_of_the_folder(folder: Path, text: str) -> None:
    with pytest.raises(InvalidInput):
        StrategyCatalogue(folder).resolve(text)


def test_an_absolute_file_outside_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is no name of a file inside"):
        StrategyCatalogue(folder).resolve(f"{tmp_path}/outside.py:X")


def test_a_module_that_nobody_registered_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="registered by no installed package"):
        StrategyCatalogue(folder).resolve("os:system")


def test_an_unknown_name_says_what_there_is(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"there are rsi_mean_reversion, sma_cross, mine\.py, other\.py"):
        StrategyCatalogue(folder).resolve("sma")


def test_packages_bring_strategies_but_not_under_our_names(installed: Installed, folder: Path) -> None:
    installed.strategy(
        "pack-one", "theirs = atf_test_one:Theirs\nsma_cross = atf_test_one:Fake", atf_test_one="1/0"
    )
    catalogue = StrategyCatalogue(folder)
    assert [(one.name, one.origin) for one in catalogue.known()][2] == ("theirs", "pack-one")
    assert catalogue.resolve("theirs") == catalogue.resolve("atf_test_one:Theirs") == "atf_test_one:Theirs"
    assert catalogue.resolve("sma_cross") == "sma_cross"
    with pytest.raises(InvalidInput):
        catalogue.resolve("atf_test_one:Fake")
