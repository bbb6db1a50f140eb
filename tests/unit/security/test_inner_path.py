"""Files that ATF reads or writes by itself stay inside their folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from atf.errors import InvalidInput
from atf.security.inner_path import inner_path, require_inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inside"
    made.mkdir()
    (tmp_path / "secret.csv").write_text("secret")
    return made


@pytest.mark.parametrize("name", ["a.csv", "1d/a.csv", "1d/deep/a.csv", "..a", "a..b", ".hidden", "a b", "x/./y"])
def test_names_inside_are_paths_below_the_folder(folder: Path, name: str) -> None:
    assert inner_path(folder, name) == folder / name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../secret.csv", "1d/../../secret.csv", "a/..", "/etc/passwd", "//etc/passwd", "a\0.csv"],
)
def test_names_that_lead_elsewhere_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="is no name of a file inside a folder"):
        inner_path(folder, name)


@pytest.mark.parametrize("target", ["secret.csv", "not there.csv"])
def test_a_link_to_a_file_outside_is_refused(folder: Path, target: str) -> None:
    (folder / "a.csv").symlink_to(folder.parent / target)
    with pytest.raises(InvalidInput, match="leads out of"):
        inner_path(folder, "a.csv")


def test_a_link_to_a_folder_outside_is_refused(folder: Path) -> None:
    (folder / "1d").symlink_to(folder.parent)
    with pytest.raises(InvalidInput, match="leads out of"):
        inner_path(folder, "1d/secret.csv")


def test_a_folder_beside_with_a_name_that_begins_alike_is_outside(folder: Path) -> None:
    beside = folder.with_name(folder.name + "-other")
    beside.mkdir()
    (folder / "1d").symlink_to(beside)
    with pytest.raises(InvalidInput, match="leads out of"):
        inner_path(folder, "1d/a.csv")


def test_links_within_the_folder_and_to_the_folder_itself_are_followed(folder: Path) -> None:
    (folder / "2024").mkdir()
    (folder / "2024" / "a.csv").write_text("x")
    (folder / "now").symlink_to("2024")
    link = folder.with_name("link")
    link.symlink_to(folder)
    assert inner_path(link, "now/a.csv").read_text() == "x"


def test_links_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(InvalidInput, match=r"cannot be followed|leads out of"):
        require_inside(folder, folder / "a" / "c")


def test_what_is_no_ordinary_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe.csv")
    (folder / "folder.csv").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.csv"))
        for name in ("pipe.csv", "folder.csv", "socket.csv"):
            with pytest.raises(InvalidInput, match="is no ordinary file"):
                inner_path(folder, name)
