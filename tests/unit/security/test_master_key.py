"""Where the master key comes from, what is refused, and what a rotation leaves behind when it is cut off."""

import base64
import os
import stat
from pathlib import Path

import pytest

from atf.errors import ConfigurationError, Conflict
from atf.security.key_file import OwnKeyFile, read_key_file
from atf.security.master_key import MasterKey, new_key, parse_key
from atf.security.master_keys import KeySources, MasterKeys

RAW = bytes(range(224, 256))
BASE64 = base64.b64encode(RAW).decode()


def keys(
    home: Path,
    *,
    given: str | None = None,
    file: Path | None = None,
    credentials: Path | None = None,
    may_be_made: bool = False,
) -> MasterKeys:
    return MasterKeys(KeySources(home, given, file, credentials, may_be_made=may_be_made))


def written(path: Path, text: str = BASE64, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        BASE64,
        BASE64.rstrip("="),
        base64.urlsafe_b64encode(RAW).decode(),
        RAW.hex(),
        RAW.hex().upper(),
        f" {BASE64}\n",
    ],
)
def test_a_key_is_read_in_each_of_its_spellings(text: str) -> None:
    assert parse_key(text, "x").secret == RAW


@pytest.mark.parametrize(
    "text", ["", "hunter2hunter2", BASE64[:-4], RAW.hex()[:-2], BASE64 + "AAAA", "é" * 44, "=" * 44]
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^ATF_MASTER_KEY: must be 32 bytes in base64") as refused:
        parse_key(text, "ATF_MASTER_KEY")
    assert not text or text not in str(refused.value)


def test_a_key_is_told_apart_by_an_id_and_never_shown() -> None:
    key, other = MasterKey(RAW, "x"), new_key("x")
    assert key.id == parse_key(RAW.hex(), "elsewhere").id != other.id
    assert BASE64 not in repr(key)
    assert RAW.hex() not in repr(key)
    assert str(list(RAW)) not in repr(key)
    assert repr(RAW) not in repr(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_a_file_that_others_may_open_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    file = written(tmp_path / "key", mode=mode)
    with pytest.raises(
        ConfigurationError, match=f"may be read by others .mode {mode:04o}.; run: chmod 600 {file}"
    ):
        read_key_file(file, "ATF_MASTER_KEY_FILE")


def test_files_that_hold_no_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_key_file(tmp_path / "none", "ATF_MASTER_KEY_FILE: none")
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_key_file(tmp_path, "ATF_MASTER_KEY_FILE: folder")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="no file"):  # and is not waited for
        read_key_file(tmp_path / "pipe", "ATF_MASTER_KEY_FILE: pipe")
    with pytest.raises(ConfigurationError, match="must be 32 bytes") as refused:
        read_key_file(written(tmp_path / "words", "hunter2 is my password"), "ATF_MASTER_KEY_FILE: words")
    assert "hunter2" not in str(refused.value)


def test_the_first_source_that_is_there_counts(tmp_path: Path) -> None:
    own, file, given = (new_key("x") for _ in range(3))
    written(tmp_path / "master.key", own.text)
    assert keys(tmp_path).first().secret == own.secret
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    assert keys(tmp_path, credentials=credentials).first().secret == own.secret
    written(credentials / "atf-master-key", BASE64, mode=0o440)  # as systemd does, which keeps others out itself
    assert keys(tmp_path, credentials=credentials).first().secret == RAW
    named = written(tmp_path / "named", file.text)
    assert keys(tmp_path, credentials=credentials, file=named).first().secret == file.secret
    assert keys(tmp_path, credentials=credentials, file=named, given=given.text).first().secret == given.secret


def test_the_embedded_installation_makes_its_key_once_and_for_its_account_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = keys(home, may_be_made=True).first()
    assert stat.S_IMODE((home / "master.key").stat().st_mode) == 0o600
    assert keys(home, may_be_made=True).first().secret == made.secret
    assert names_in(home) == ["master.key"]


def test_of_two_that_make_it_at_once_one_counts(tmp_path: Path) -> None:
    own = OwnKeyFile(tmp_path)
    first = own.make(new_key("x"))
    assert own.make(new_key("x")).secret == first.secret


def test_for_a_database_of_somebody_else_no_key_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^ATF_MASTER_KEY: is missing, and secrets are sealed with it"):
        keys(tmp_path).first()
    assert names_in(tmp_path) == []


def test_a_missing_key_is_not_made_anew_where_something_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is missing, and this database has secrets"):
        keys(tmp_path, may_be_made=True).require(new_key("x").id)
    assert names_in(tmp_path) == []


def test_another_key_is_refused_and_both_are_named_by_their_ids(tmp_path: Path) -> None:
    of_database, given = new_key("x"), new_key("x")
    with pytest.raises(ConfigurationError) as refused:
        keys(tmp_path, given=given.text).require(of_database.id)
    assert str(refused.value) == (
        f"ATF_MASTER_KEY: is the master key {given.short_id}, and the secrets of this database are sealed with"
        f" {of_database.short_id}: give that one; nothing was changed"
    )


def test_without_anything_sealed_no_key_is_needed_but_nonsense_is_told(tmp_path: Path) -> None:
    keys(tmp_path).require(None)
    with pytest.raises(ConfigurationError, match=r"^ATF_MASTER_KEY: must be 32 bytes"):
        keys(tmp_path, given="nonsense").require(None)


def test_a_rotation_cut_off_before_it_counts_leaves_the_old_key(tmp_path: Path) -> None:
    old = keys(tmp_path, may_be_made=True).first()
    keys(tmp_path).prepare(old, None)
    assert keys(tmp_path).fitting(old.id).secret == old.secret
    again = keys(tmp_path).prepare(old, None)  # and it can be repeated
    assert again.secret != old.secret
    assert keys(tmp_path).fitting(old.id).secret == old.secret


def test_a_rotation_cut_off_after_it_counts_is_ended_by_whoever_comes_next(tmp_path: Path) -> None:
    old = keys(tmp_path, may_be_made=True).first()
    new = keys(tmp_path).prepare(old, None)
    assert keys(tmp_path).fitting(new.id).secret == new.secret
    assert read_key_file(tmp_path / "master.key", "own").secret == new.secret
    assert read_key_file(tmp_path / f"master.key.{old.short_id}", "kept").secret == old.secret
    assert names_in(tmp_path) == ["master.key", f"master.key.{old.short_id}"]


def test_the_next_rotation_does_not_lose_the_key_of_one_that_was_cut_off(tmp_path: Path) -> None:
    first = keys(tmp_path, may_be_made=True).first()
    second = keys(tmp_path).prepare(first, None)
    third = keys(tmp_path).prepare(second, None)  # the second is the database's, still under its first name
    assert keys(tmp_path).fitting(second.id).secret == second.secret
    assert keys(tmp_path).replace(third) == tmp_path / f"master.key.{second.short_id}"
    assert keys(tmp_path).fitting(third.id).secret == third.secret


def test_where_atf_cannot_put_a_key_the_new_one_must_be_given(tmp_path: Path) -> None:
    old, new = new_key("x"), new_key("x")
    given = keys(tmp_path, given=old.text)
    with pytest.raises(Conflict, match="comes from ATF_MASTER_KEY, where ATF cannot change it"):
        given.prepare(old, None)
    assert given.prepare(old, new) is new
    assert given.replace(new) is None
    assert names_in(tmp_path) == []


def test_a_process_finds_the_new_key_when_the_database_has_come_to_it(tmp_path: Path) -> None:
    file = written(tmp_path / "key")
    running, new = keys(tmp_path, file=file), new_key("x")
    running.require(parse_key(BASE64, "x").id)
    written(file, new.text)
    assert running.fitting(new.id).secret == new.secret
