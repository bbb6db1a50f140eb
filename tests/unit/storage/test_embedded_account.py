"""Which account runs the server; nothing is started here."""

import os
import pwd
from pathlib import Path

import pytest

from atf.errors import ConfigurationError
from atf.storage.embedded.account import Account, choose_account

ACCOUNTS = {
    name: pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/false"))
    for name, uid in {"root": 0, "anna": 1000, "postgres": 101, "nobody": 65534}.items()
}


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> dict[str, pwd.struct_passwd]:
    """The account database of an imagined machine; a test may remove lines."""
    known = dict(ACCOUNTS)

    def by_uid(uid: int) -> pwd.struct_passwd:
        return {entry.pw_uid: entry for entry in known.values()}[uid]

    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", by_uid)
    return known


def become(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_ordinary_user_runs_it_as_itself(
    accounts: dict[str, pwd.struct_passwd], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, 1000)
    chosen = choose_account(None, allow_nobody=False, owner_uid=1000)
    assert (chosen.name, "user" in chosen.launch_options()) == ("anna", False)


def test_ordinary_user_cannot_name_another_account(
    accounts: dict[str, pwd.struct_passwd], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, 1000)
    with pytest.raises(ConfigurationError, match="ATF_PG_USER is 'postgres', but only root"):
        choose_account("postgres", allow_nobody=False, owner_uid=1000)


def test_user_id_without_an_account_is_refused(
    accounts: dict[str, pwd.struct_passwd], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, 4711)
    with pytest.raises(ConfigurationError, match="user id 4711 has no entry in the account database"):
        choose_account(None, allow_nobody=False, owner_uid=4711)


@pytest.mark.parametrize(
    ("pg_user", "owner_uid", "expected"),
    [("anna", 0, "anna"), (None, 0, "postgres"), (None, 1000, "anna"), ("postgres", 1000, "postgres")],
)
def test_root_takes_the_setting_then_the_owner_then_postgres(
    accounts: dict[str, pwd.struct_passwd],
    monkeypatch: pytest.MonkeyPatch,
    pg_user: str | None,
    owner_uid: int,
    expected: str,
) -> None:
    become(monkeypatch, 0)
    chosen = choose_account(pg_user, allow_nobody=True, owner_uid=owner_uid)
    assert (chosen.name, chosen.warning) == (expected, None)
    assert chosen.launch_options()["user"] == chosen.uid
    assert chosen.launch_options()["extra_groups"] == []


def test_nobody_is_the_last_resort_and_warns(
    accounts: dict[str, pwd.struct_passwd], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, 0)
    del accounts["postgres"]
    chosen = choose_account(None, allow_nobody=True, owner_uid=0)
    assert chosen.name == "nobody"
    assert chosen.warning is not None


def test_nobody_is_not_taken_unasked(
    accounts: dict[str, pwd.struct_passwd], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, 0)
    del accounts["postgres"]
    with pytest.raises(ConfigurationError, match="set ATF_PG_USER to an existing account that is not root"):
        choose_account(None, allow_nobody=False, owner_uid=0)


@pytest.mark.parametrize(("name", "reason"), [("root", "is root"), ("ghost", "there is no account 'ghost'")])
def test_setting_must_name_an_account_that_is_not_root(
    accounts: dict[str, pwd.struct_passwd], monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    become(monkeypatch, 0)
    with pytest.raises(ConfigurationError, match=reason):
        choose_account(name, allow_nobody=True, owner_uid=0)


def test_environment_of_the_caller_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    assert set(Account("anna", os.geteuid(), 0).launch_options()["env"]) == {"PATH", "LC_ALL", "TZ"}


def test_first_closed_folder_is_the_topmost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "open" / "closed" / "deeper"
    folder.mkdir(parents=True)
    monkeypatch.setattr(Account, "may_enter", lambda _, folder: folder.name not in {"closed", "deeper"})
    assert Account("anna", 1000, 1000).first_closed_folder(folder / "file") == tmp_path / "open" / "closed"


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "expected"),
    [
        (0o700, 0, 0, True),
        (0o700, 1, 0, False),
        (0o710, 1, 0, True),
        (0o701, 1, 0, False),
        (0o701, 1, 1, True),
        (0o077, 0, 0, False),
    ],
    ids=["owner", "closed", "group", "group first", "others", "owner first"],
)
def test_mode_bits_decide_who_may_enter(tmp_path: Path, mode: int, uid: int, gid: int, expected: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    found = folder.stat()
    account = Account("somebody", found.st_uid + uid, found.st_gid + gid)
    assert account.may_enter(folder) is expected
    folder.chmod(0o700)
