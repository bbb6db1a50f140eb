"""Commands in prepared processes: like ones that Python has just started, and gone with who asked for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atf.testing.processes import is_alive, run_atf
from atf.testing.waiting import wait_for

# Asks for a command that goes on for ever, and ends once that has begun, without a word to anybody.
ASKER = """
import os, sys, threading
from atf.testing.prepared import prepared_commands

commands = prepared_commands()
words, environment = ["runs", "list", "--watch"], dict(os.environ)
threading.Thread(
    target=commands.run, args=(words, environment), kwargs={"stdin": None, "patience": 60}, daemon=True
).start()
sys.stdin.readline()
print(commands._process.pid, flush=True)
os._exit(0)
"""


def test_a_command_has_the_environment_the_folder_and_the_words_that_it_is_given(tmp_path: Path) -> None:
    environment = {**os.environ, "ATF_HOME": str(tmp_path), "ATF_CONFIG": "none", "NO_COLOR": "1"}
    shown = run_atf(["config", "show", "--json"], environment)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert str(tmp_path) in shown.stdout
    refused = run_atf(["cron", "next", "@daily"], environment)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "atf: cron: expected 5 or 6 fields, got 1\n"
    assert run_atf(["cron", "next"], environment).returncode == 2


def test_a_command_that_takes_too_long_is_killed_and_the_next_one_is_served(
    tmp_path: Path, database_url: str
) -> None:
    environment = {**os.environ, "ATF_HOME": str(tmp_path), "ATF_DATABASE_URL": database_url}
    with pytest.raises(subprocess.TimeoutExpired):
        run_atf(["runs", "list", "--watch"], environment, patience=3)
    assert run_atf(["cron", "next", "0 9 * * *"], environment).returncode == 0


def test_what_is_under_way_ends_with_whoever_asked_for_it(tmp_path: Path, database_url: str) -> None:
    environment = {**os.environ, "ATF_HOME": str(tmp_path), "ATF_DATABASE_URL": database_url}
    with subprocess.Popen(
        [sys.executable, "-c", ASKER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as asker:
        wait_for(lambda: commands_of(asker.pid), what="for the command to begin")
        assert asker.stdin is not None
        asker.stdin.write("\n")
        asker.stdin.flush()
        assert asker.stdout is not None
        prepared = int(asker.stdout.readline())
    wait_for(lambda: not is_alive(prepared), what="until it has ended")
    assert children_of(prepared) == []


def commands_of(asker: int) -> list[int]:
    """The commands that an asker's prepared process has forked."""
    return [command for prepared in children_of(asker) for command in children_of(prepared)]


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found
