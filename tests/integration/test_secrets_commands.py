"""``atf secrets`` and the master key as people meet them: what is typed, what is refused, what a kill leaves."""

import fcntl
import json
import os
import stat
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from tests.integration.secret_search import dump, found_in

from atf.security.key_file import OwnKeyFile, read_key_file
from atf.security.master_key import MasterKey, new_key
from atf.storage.embedded import ClusterHandle
from atf.testing.processes import Installation, run_atf

VALUE = "hunter2-is-the-password-of-the-broker"
MASTER = new_key("test")


class Commands:
    def __init__(self, home: Path, url: str) -> None:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("ATF_", "SCHEDULER_"))
        }
        self.environment = {**inherited, "ATF_HOME": str(home), "ATF_DATABASE_URL": url, "NO_COLOR": "1"}
        self.home = home

    def __call__(self, *words: str, stdin: str | None = None, **environment: str) -> str:
        finished = self.run(*words, stdin=stdin, **environment)
        assert finished.returncode == 0, finished
        return finished.stdout

    def run(self, *words: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_atf(words, {**self.environment, **environment}, stdin=stdin)

    def refused(self, *words: str, stdin: str | None = None, **environment: str) -> str:
        finished = self.run(*words, stdin=stdin, **environment)
        assert (finished.returncode, finished.stdout, finished.stderr.count("\n")) == (1, "", 1), finished
        return finished.stderr.removeprefix("atf: ").strip()

    def killed_at(self, point: str, *words: str) -> None:
        """Start a command, wait until it is at a point, and kill it there."""
        process = subprocess.Popen(
            [sys.executable, "-m", "atf", *words],
            env={**self.environment, "ATF_PAUSE_AT": point},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        with process.stderr:
            assert process.stderr.readline() == f"paused at {point}\n"
            process.kill()
            process.wait()


@pytest.fixture
def atf(tmp_path: Path, database_url: str) -> Commands:
    return Commands(tmp_path, database_url)


def key_file(path: Path, key: MasterKey) -> Path:
    path.write_text(key.text)
    path.chmod(0o600)
    return path


def test_a_secret_is_piped_in_listed_and_deleted_and_never_told(atf: Commands) -> None:
    given = {"ATF_MASTER_KEY": MASTER.text}
    said = [
        atf("secrets", "set", "broker.key", stdin=f"{VALUE}\n", **given),
        atf("secrets", "set", "broker.key", "--json", stdin=VALUE, **given),
        atf("secrets", "set", "bot", "--platform", stdin=VALUE, **given),
        atf("secrets", "list", **given),
    ]
    assert said[0] == "secret broker.key stored\n"
    assert "broker.key" in said[3]
    assert [one["name"] for one in json.loads(atf("secrets", "list", "--json", **given))] == ["broker.key"]
    assert [one["name"] for one in json.loads(atf("secrets", "list", "--platform", "--json", **given))] == ["bot"]
    assert atf("secrets", "delete", "broker.key", **given) == "secret broker.key deleted\n"
    assert atf.refused("secrets", "delete", "broker.key", **given) == (
        'there is no secret "broker.key"; secrets here: none'
    )
    said.append(atf("audit", "list", "--json", **given))
    said.append(atf("config", "show", "--json", **given))
    assert found_in(VALUE, said) == []
    assert found_in(MASTER.text, said) == []


def test_a_person_is_asked_twice_and_sees_nothing_of_it(atf: Commands) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "atf", "secrets", "set", "broker.key"],
        env={**atf.environment, "ATF_MASTER_KEY": MASTER.text},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    screen = ""
    for question, answer in (
        ("value of broker.key: ", VALUE),
        ("again: ", "other"),
        ("broker.key: ", VALUE),
        ("again: ", VALUE),
        ("stored", ""),
    ):
        begin = len(screen)
        while question not in screen[begin:]:
            screen += os.read(ours, 1000).decode()
        os.write(ours, f"{answer}\n".encode() if answer else b"")
    assert process.wait(30) == 0
    os.close(ours)
    assert "do not match" in screen
    assert VALUE not in screen


def test_a_value_on_the_command_line_is_refused_unread(atf: Commands, cluster: ClusterHandle) -> None:
    refusal = atf.refused("secrets", "set", "broker.key", VALUE, ATF_MASTER_KEY=MASTER.text)
    assert refusal.startswith("value: is never an argument")
    assert VALUE not in refusal
    assert (
        atf.refused("secrets", "set", "broker.key", stdin="\n", ATF_MASTER_KEY=MASTER.text) == "value: is empty"
    )
    assert atf("secrets", "list", "--json", ATF_MASTER_KEY=MASTER.text) == "[]\n"


def test_a_service_without_the_right_key_refuses_to_start_and_touches_nothing(
    atf: Commands, cluster: ClusterHandle, database_url: str, tmp_path: Path
) -> None:
    atf("secrets", "set", "broker.key", stdin=VALUE, ATF_MASTER_KEY=MASTER.text)
    before, files = dump(cluster, database_url), sorted(tmp_path.rglob("*"))
    other = new_key("x")
    open_to_all = key_file(tmp_path.parent / f"{tmp_path.name}.key", MASTER)
    open_to_all.chmod(0o644)
    for given, sentence in (
        ({}, "ATF_MASTER_KEY: is missing, and this database has secrets that are sealed with the master key"),
        (
            {"ATF_MASTER_KEY": other.text},
            f"ATF_MASTER_KEY: is the master key {other.short_id}, and the secrets of",
        ),
        ({"ATF_MASTER_KEY": "hunter2"}, "ATF_MASTER_KEY: must be 32 bytes in base64"),
        (
            {"ATF_MASTER_KEY_FILE": "/nowhere/key"},
            "ATF_MASTER_KEY_FILE: /nowhere/key cannot be read: No such file",
        ),
        ({"ATF_MASTER_KEY_FILE": str(open_to_all)}, f"ATF_MASTER_KEY_FILE: {open_to_all} may be read by others"),
    ):
        for words in (
            ["scheduler", "start"],
            ["worker", "start"],
            ["notifications", "start"],
            ["db", "migrate"],
            ["secrets", "list"],
        ):
            refusal = atf.refused(*words, **given)
            assert refusal.startswith(sentence), refusal
            assert "hunter2" not in refusal
        assert MASTER.text not in refusal
    assert without_noise(dump(cluster, database_url)) == without_noise(before)
    assert sorted(tmp_path.rglob("*")) == files


def without_noise(dumped: str) -> list[str]:
    """pg_dump writes a random word at its beginning and end."""
    return [line for line in dumped.splitlines() if "restrict" not in line]


def test_without_secrets_services_need_no_key_but_tell_nonsense(atf: Commands) -> None:
    assert json.loads(atf("secrets", "list", "--json")) == []
    assert atf.refused("secrets", "list", ATF_MASTER_KEY="hunter2").startswith("ATF_MASTER_KEY: must be 32 bytes")
    assert atf.refused("secrets", "set", "x", stdin=VALUE).startswith(
        "ATF_MASTER_KEY: is missing, and secrets are"
    )


def test_the_key_may_be_a_file_or_a_credential(atf: Commands, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    key_file(credentials / "atf-master-key", MASTER).chmod(0o440)
    atf("secrets", "set", "broker.key", stdin=VALUE, CREDENTIALS_DIRECTORY=str(credentials))
    named = key_file(tmp_path / "named", MASTER)
    assert "broker.key" in atf("secrets", "list", ATF_MASTER_KEY_FILE=str(named))


def test_a_rotation_of_a_key_that_somebody_else_keeps(atf: Commands, tmp_path: Path) -> None:
    new = new_key("new")
    old_file, new_file = key_file(tmp_path / "old", MASTER), key_file(tmp_path / "new", new)
    atf("secrets", "set", "broker.key", stdin=VALUE, ATF_MASTER_KEY=MASTER.text)
    assert "give the new one with --new-key FILE" in atf.refused("secrets", "rotate", ATF_MASTER_KEY=MASTER.text)
    said = atf("secrets", "rotate", "--new-key", str(new_file), ATF_MASTER_KEY=MASTER.text)
    assert said.startswith(f"master key {new.short_id} in place of {MASTER.short_id}; keys wrapped anew: 1\n")
    assert "is the master key" in atf.refused("secrets", "list", ATF_MASTER_KEY=MASTER.text)
    assert "broker.key" in atf("secrets", "list", ATF_MASTER_KEY=new.text)
    # Back, by who has given the other key to ATF already.
    words = ("secrets", "rotate", "--old-key", str(new_file), "--new-key", str(old_file))
    assert json.loads(atf(*words, "--json", ATF_MASTER_KEY=MASTER.text))["keys"] == 1
    assert "broker.key" in atf("secrets", "list", ATF_MASTER_KEY=MASTER.text)
    new_file.chmod(0o644)
    assert "may be read by others" in atf.refused(
        "secrets", "rotate", "--new-key", str(new_file), ATF_MASTER_KEY=MASTER.text
    )


@pytest.mark.parametrize(("point", "is_new"), [("secrets.half_rotated", False), ("secrets.rotated", True)])
def test_a_rotation_that_is_killed_leaves_all_old_or_all_new(
    atf: Commands, tmp_path: Path, point: str, is_new: bool
) -> None:
    old = OwnKeyFile(tmp_path).make(new_key("own"))
    for name in ("one", "two", "three"):
        atf("secrets", "set", name, stdin=VALUE)
    atf.killed_at(point, "secrets", "rotate")
    names = [one["name"] for one in json.loads(atf("secrets", "list", "--json"))]  # opened: the key fits
    assert names == ["one", "three", "two"]
    current = read_key_file(tmp_path / "master.key", "own")
    assert (current.id != old.id) is is_new
    said = json.loads(atf("secrets", "rotate", "--json"))  # and every value opens, or it would refuse
    assert (said["keys"], said["old_id"]) == (3, current.short_id)
    assert read_key_file(tmp_path / f"master.key.{current.short_id}", "kept").id == current.id


def test_the_embedded_installation_makes_its_key_with_the_first_secret() -> None:
    with Installation() as home:
        file = home.home / "master.key"
        home.run("db", "migrate")
        assert home.run("secrets", "list").returncode == 0
        assert not file.exists()
        stored = run_atf(["secrets", "set", "broker.key"], home.full_environment, stdin=VALUE)
        assert stored.returncode == 0, stored
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.rename(home.home / "elsewhere")
        refused = home.run("up")
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith("atf: ATF_MASTER_KEY: is missing, and this database")
        assert not file.exists()
