"""``atf users link|password``, ``atf tokens`` and the first start, run as a user runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.integration.accounts import HOME
from tests.integration.conftest import Rows

from atf.bootstrap.accounts import build_accounts
from atf.errors import Unauthenticated
from atf.security.password import Passwords
from atf.security.scope import Scope
from atf.storage.database import Database, plain_url
from atf.testing.processes import Installation, run_atf

PASSWORD = "correct horse battery"
LINK = re.compile(r"(https?://\S+)/account/(setup|reset)#(atf_\2_[0-9a-f]{16}_[\w-]{43})")


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        yield made


def said(installation: Installation, *words: str) -> str:
    done = installation.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(installation: Installation, *words: str, stdin: str | None = None) -> str:
    done = run_atf(words, installation.full_environment, stdin=stdin)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("atf: ").strip()


def link_in(text: str) -> tuple[str, str]:
    """Where a link leads and the token in it."""
    (found,) = LINK.findall(text)
    return f"{found[0]}/account/{found[1]}", found[2]


async def test_a_link_is_printed_and_sets_the_password(installation: Installation, database: Database) -> None:
    said(installation, "users", "add", "ann", "--role", "trader")
    told = said(installation, "users", "link", "ann")
    assert re.fullmatch(r"\S+ \(holds once, until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ\)\n", told)
    place, token = link_in(told)
    assert place == "http://localhost:8000/account/setup"
    accounts = build_accounts(database, Passwords())
    await accounts.set_password(token, PASSWORD, HOME)
    await accounts.sign_in("ann", PASSWORD, HOME)
    reset = json.loads(said(installation, "users", "link", "ann", "--purpose", "reset", "--json"))
    assert (reset["user"], reset["purpose"]) == ("ann", "reset")
    assert link_in(reset["url"])[0] == "http://localhost:8000/account/reset"
    sentence = refused(installation, "users", "link", "ann", "--purpose", "setup")
    assert sentence.startswith("this user has a password already")
    assert (
        refused(installation, "users", "link", "ann", "--purpose", "link") == "--purpose: must be setup or reset"
    )
    assert refused(installation, "users", "link", "bob") == "there is no user 'bob'; users here: ann, owner"


def test_links_begin_with_the_public_url(installation: Installation) -> None:
    installation.environment["ATF_PUBLIC_URL"] = "https://atf.example.org/desk/"
    assert said(installation, "users", "link", "owner").startswith(
        "https://atf.example.org/desk/account/setup#atf_"
    )
    for wrong in ("atf.example.org", "ftp://atf", "https://", "https://x/?a=1", "https://x/#a", "http://a b"):
        installation.environment["ATF_PUBLIC_URL"] = wrong
        sentence = refused(installation, "users", "link", "owner")
        assert sentence.startswith("ATF_PUBLIC_URL: must be an address such as https://atf.example.org, without")


async def test_a_piped_password_is_set_and_never_an_argument(
    installation: Installation, database: Database
) -> None:
    done = run_atf(["users", "password", "owner"], installation.full_environment, stdin=f"{PASSWORD}\nmore\n")
    assert (done.returncode, done.stdout) == (0, "the password of owner is set\n")
    assert PASSWORD not in done.stdout + done.stderr
    await build_accounts(database, Passwords()).sign_in("owner", PASSWORD, HOME)
    assert installation.run("users", "password", "owner", PASSWORD).returncode == 2
    for stdin, length in (("short\n", 5), ("", 0), ("x" * 257, 257)):
        sentence = refused(installation, "users", "password", "owner", stdin=stdin)
        assert sentence == f"password: must have 12 to 256 characters, got {length}"
    command = [sys.executable, "-m", "atf", "users", "password", "owner"]
    environment = installation.full_environment
    garbled = subprocess.run(command, env=environment, input=b"\xff" * 20, capture_output=True, check=False)
    assert (garbled.returncode, garbled.stderr) == (1, b"atf: password: must be text in UTF-8\n")
    await build_accounts(database, Passwords()).sign_in("owner", PASSWORD, HOME)


def test_at_a_terminal_a_password_is_asked_for_twice_and_not_shown(installation: Installation) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "atf", "users", "password", "owner"],
        env=installation.full_environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""

    def read_until(word: bytes) -> None:
        nonlocal shown
        while word not in shown:
            shown += os.read(ours, 1000)

    read_until(b"Password: ")
    os.write(ours, PASSWORD.encode() + b"\n")
    read_until(b"Repeat for confirmation: ")
    os.write(ours, PASSWORD.encode() + b"\n")
    read_until(b"the password of owner is set")
    assert process.wait(timeout=30) == 0
    os.close(ours)
    assert PASSWORD.encode() not in shown


async def test_a_token_is_printed_once_listed_and_revoked(installation: Installation, database: Database) -> None:
    accounts = build_accounts(database, Passwords())
    token = said(installation, "tokens", "add", "notebook", "--scopes", "view, edit", "--days", "30").strip()
    caller = await accounts.authenticate(token, HOME)
    assert (caller.name, caller.scopes) == ("owner", frozenset({Scope.VIEW, Scope.EDIT}))
    (listed,) = json.loads(said(installation, "tokens", "list", "--json"))
    assert (listed["shown"], listed["name"], listed["scopes"]) == (token[:-44], "notebook", ["view", "edit"])
    assert listed["last_used_at"] is not None
    table = said(installation, "tokens", "list")
    assert token[:-44] in table
    assert token[-43:] not in table
    assert said(installation, "tokens", "revoke", token[:-44]) == f"token {token[:-44]} (notebook) is revoked\n"
    with pytest.raises(Unauthenticated):
        await accounts.authenticate(token, HOME)


async def test_a_service_gets_a_token_of_its_own(installation: Installation, database: Database) -> None:
    made = json.loads(
        said(installation, "tokens", "add", "worker-2", "--service", "--scopes", "notify", "--json")
    )
    accounts = build_accounts(database, Passwords())
    await accounts.authenticate_service(made["token"], Scope.NOTIFY, HOME)
    assert json.loads(said(installation, "tokens", "list", "--json")) == []
    (listed,) = json.loads(said(installation, "tokens", "list", "--service", "--json"))
    assert listed["id"] == made["record"]["id"]
    assert "is revoked" in said(installation, "tokens", "revoke", "--service", made["token"])
    with pytest.raises(Unauthenticated):
        await accounts.authenticate_service(made["token"], Scope.NOTIFY, HOME)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["add", "x", "--scopes", "fly"], 'scopes: must be of view, edit, act, secrets, administer, got "fly"'),
        (["add", "x", "--scopes", ","], "scopes: name one at least of view, edit, act, secrets, administer"),
        (["add", "x", "--scopes", "view", "--service"], 'scopes: must be of notify, got "view"'),
        (["add", "x", "--scopes", "view", "--days", "0"], "days: must be from 1 to 3660, got 0"),
        (["add", "", "--scopes", "view"], 'name: must have 1 to 64 printable characters, got ""'),
        (["revoke", "notebook"], "there is no such token; `atf tokens list` shows those there are"),
    ],
)
async def test_a_bad_token_is_refused_with_its_field(
    installation: Installation, rows: Rows, words: list[str], sentence: str
) -> None:
    assert refused(installation, "tokens", *words) == sentence
    assert await rows.value("SELECT count(*) FROM api_tokens") == 0


def test_traders_administer_nobody(installation: Installation) -> None:
    said(installation, "users", "add", "ann", "--role", "trader")
    said(installation, "users", "add", "vic", "--role", "viewer")
    may_not = "only users of the role admin may administer"
    for words in (["users", "link", "ann"], ["tokens", "add", "x", "--service", "--scopes", "notify"]):
        assert may_not in refused(installation, *words, "--user", "ann")
    assert may_not in refused(installation, "users", "password", "owner", "--user", "ann", stdin=PASSWORD)
    assert "may keep secrets" in refused(installation, "tokens", "add", "x", "--scopes", "view", "--user", "vic")


def test_the_first_migration_prints_a_link_for_the_owner_until_there_is_a_password(
    tmp_path: Path, empty_database_url: str
) -> None:
    with Installation({"ATF_DATABASE_URL": empty_database_url}, tmp_path / "home") as installation:
        first, second = said(installation, "db", "migrate").splitlines()
        assert first.startswith("schema none → ")
        assert second.startswith("set the owner's password: http://localhost:8000/account/setup#atf_setup_")
        assert len(said(installation, "db", "migrate").splitlines()) == 1  # the link still holds
        with psycopg.connect(plain_url(empty_database_url), autocommit=True) as connection:
            connection.execute("UPDATE one_time_links SET expires_at = now()")
        again = said(installation, "db", "migrate").splitlines()[1]
        assert link_in(again)[1] != link_in(second)[1]
        run_atf(["users", "password", "owner"], installation.full_environment, stdin=PASSWORD)
        assert len(said(installation, "db", "migrate").splitlines()) == 1
        log = said(installation, "audit", "list", "--json")
        assert "link.create" in log
        secrets = [link_in(line)[1][-43:] for line in (second, again)]
        assert [secret for secret in (*secrets, PASSWORD) if secret in log] == []
