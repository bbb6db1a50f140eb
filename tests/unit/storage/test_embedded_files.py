"""Lock files, socket folders, answers and locks of the embedded cluster, without a server."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from atf.errors import ConfigurationError, DatabaseUnavailable
from atf.storage.embedded.account import Account
from atf.storage.embedded.connection import Address, Answer, classify
from atf.storage.embedded.layout import HomeLayout, size_in_bytes
from atf.storage.embedded.lock_files import PostmasterFile, parse_postmaster_file, running_postmaster
from atf.storage.embedded.locks import Reference, exclusive, is_referenced
from atf.storage.embedded.processes import is_running
from atf.storage.embedded.server import rotate_log
from atf.storage.embedded.socket_folder import create_socket_folder, remove_short_folder, socket_folder

OURSELVES = Account("ourselves", os.geteuid(), os.getegid())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12\n/data\n1700000000\n5432\n/sock\n\n1 2\nready\n", PostmasterFile(12, Path("/sock"))),
        ("12\n/data\n1700000000\n5432\n\nlocalhost\n", PostmasterFile(12, None)),
        ("-12\n/data\n", PostmasterFile(12, None)),
        ("", None),
        ("\n", None),
        ("garbage\n", None),
    ],
)
def test_postmaster_file_is_read_whole_or_cut(text: str, expected: PostmasterFile | None) -> None:
    assert parse_postmaster_file(text) == expected


@settings(database=None)
@given(st.text())
def test_no_content_of_the_postmaster_file_raises(text: str) -> None:
    found = parse_postmaster_file(text)
    assert found is None or found.pid >= 0


def test_live_process_that_is_no_server_does_not_hold_the_data(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")
    assert running_postmaster(tmp_path) is None
    assert not is_running(os.getpid(), tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('FATAL:  password authentication failed for user "atf"', Answer.WRONG_PASSWORD),
        ('FATAL:  database "atf" does not exist', Answer.NO_DATABASE),
        ('FATAL:  role "atf" does not exist', Answer.REFUSED),
        ("FATAL:  the database system is starting up", Answer.NOT_YET),
        ("FATAL:  the database system is shutting down", Answer.NOT_YET),
        ("FATAL:  the database system is in recovery mode", Answer.NOT_YET),
        ("FATAL:  sorry, too many clients already", Answer.REFUSED),
        ("connection failed: No such file or directory", Answer.NOBODY),
        ("connection failed: Connection refused", Answer.NOBODY),
    ],
)
def test_refused_connection_is_told_from_a_dead_server(text: str, expected: Answer) -> None:
    assert classify(text) is expected


def test_server_that_takes_the_connection_and_says_nothing_is_not_dead() -> None:
    assert classify("connection timeout expired", timed_out=True) is Answer.SILENT


def test_full_server_counts_as_alive() -> None:
    alive = {answer for answer in Answer if answer.is_alive}
    assert alive == {Answer.READY, Answer.NO_DATABASE, Answer.REFUSED}


def test_url_survives_special_characters() -> None:
    url = make_url(Address(Path("/home/Börse & co=1?/sock"), "p@ss/w:rd%").url("atf"))
    assert url.query == {"host": "/home/Börse & co=1?/sock", "port": "5432"}
    assert (url.drivername, url.username, url.password) == ("postgresql+psycopg", "atf", "p@ss/w:rd%")
    assert (url.host, url.database) == (None, "atf")


def test_password_is_not_shown_by_repr() -> None:
    assert "secret" not in repr(Address(Path("/sock"), "secret"))


def test_short_home_keeps_its_socket() -> None:
    assert socket_folder(Path("/var/lib/atf"), 1) == Path("/var/lib/atf/sock")


@pytest.mark.parametrize("home", ["/" + "long" * 30, "/" + "ä" * 45, "/a,b", '/a"b'])
def test_awkward_home_gets_a_short_folder_of_its_own(home: str) -> None:
    folder = socket_folder(Path(home), 1)
    assert not folder.is_relative_to(home)
    assert folder == socket_folder(Path(home), 1)
    assert folder != socket_folder(Path(home + "x"), 1)


def test_own_socket_folder_is_used_again(tmp_path: Path) -> None:
    for _ in range(2):
        create_socket_folder(tmp_path / "sock", OURSELVES)
    assert (tmp_path / "sock").stat().st_mode & 0o777 == 0o700


def test_open_socket_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sock").mkdir()
    (tmp_path / "sock").chmod(0o755)
    with pytest.raises(ConfigurationError, match="is not a folder of mode 0700"):
        create_socket_folder(tmp_path / "sock", OURSELVES)


def test_linked_socket_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "sock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="belongs to 'ourselves'"):
        create_socket_folder(tmp_path / "sock", OURSELVES)


def test_only_an_empty_folder_outside_home_is_removed(tmp_path: Path) -> None:
    home, empty, used = tmp_path / "home", tmp_path / "empty", tmp_path / "used"
    for folder in (home / "sock", empty, used / "file"):
        folder.mkdir(parents=True)
    for folder in (home / "sock", empty, used):
        remove_short_folder(folder, home)
    assert [folder.exists() for folder in (home / "sock", empty, used)] == [True, False, True]


def test_references_count_until_the_last_is_released(tmp_path: Path) -> None:
    path = tmp_path / ".refs"
    first, second = Reference(path), Reference(path)
    first.release()
    first.release()
    assert (first.is_held, second.is_held, is_referenced(path)) == (False, True, True)
    second.release()
    assert not is_referenced(path)


def test_exclusive_lock_is_exclusive_and_freed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with (
        exclusive(path, patience=timedelta(seconds=1)),
        pytest.raises(DatabaseUnavailable),
        exclusive(path, patience=timedelta(0)),
    ):
        pass
    with exclusive(path, patience=timedelta(0)):
        pass


def test_linked_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), exclusive(tmp_path / ".lock", patience=timedelta(0)):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_only_data_directories_count_as_versions(tmp_path: Path) -> None:
    for name in ("pg18", "pg9", "pg18.old", "pgruntime"):
        (tmp_path / name).mkdir()
    (tmp_path / "pg17").write_text("")
    assert HomeLayout.of(tmp_path).majors() == [9, 18]
    assert HomeLayout.of(tmp_path / "missing").majors() == []


def test_size_is_the_sum_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(b"45")
    assert size_in_bytes(tmp_path) == 5


def test_large_log_is_put_aside_once(tmp_path: Path) -> None:
    log = tmp_path / "pg18.log"
    rotate_log(log)
    with log.open("wb") as file:
        file.truncate(10_000_001)
    rotate_log(log)
    assert [path.name for path in tmp_path.iterdir()] == ["pg18.log.1"]
