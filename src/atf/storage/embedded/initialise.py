"""Make a new cluster with initdb: all of it or nothing.

It is written under a draft name and renamed at the end, so that a half-made cluster never counts.
"""

from __future__ import annotations

import os
import platform
import secrets
import subprocess
from pathlib import Path

from atf.errors import ConfigurationError
from atf.storage.embedded.account import Account
from atf.storage.embedded.binaries import Binaries
from atf.storage.embedded.connection import ROLE
from atf.storage.embedded.layout import HomeLayout, disk_full, give_to_owner_of_folder, remove_tree

_TIMEOUT_SECONDS = 300
# The hint comes with a write that the file system cut short.
_FULL = ("No space left on device", "Disk quota exceeded", "Check free disk space")


def create_cluster(layout: HomeLayout, binaries: Binaries, account: Account) -> None:
    """Create the data directory and its password file; call it under the exclusive lock.

    Errors: ConfigurationError when initdb fails; nothing half-made remains.
    """
    _sweep(layout.drafts)
    draft = layout.drafts / secrets.token_hex(8)
    password = draft.with_suffix(".password")
    try:
        _make_draft(draft, password, account)
        _run_initdb(binaries, account, draft, password)
        _publish(layout, binaries.major, draft, password)
    finally:
        remove_tree(draft)
        password.unlink(missing_ok=True)


def is_disk_full(output: str) -> bool:
    """Return whether the output of a PostgreSQL program says that the disk is full."""
    return any(text in output for text in _FULL)


def initdb_arguments(binaries: Binaries, data_dir: Path, password: Path) -> list[str]:
    """Return the command that makes a cluster; the sort order is the same on every operating system."""
    return [
        str(binaries.program("initdb")),
        f"--pgdata={data_dir}",
        f"--username={ROLE}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--data-checksums",
        "--no-instructions",
        *_locale(binaries.major),
    ]


def _locale(major: int) -> list[str]:
    if major >= 17:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    if platform.system() == "Linux":
        return ["--locale=C.UTF-8", "--lc-messages=C"]
    return ["--locale=C"]


def _sweep(drafts: Path) -> None:
    remove_tree(drafts)
    drafts.mkdir(exist_ok=True)
    drafts.chmod(0o711)
    give_to_owner_of_folder(drafts)


def _make_draft(draft: Path, password: Path, account: Account) -> None:
    draft.mkdir(mode=0o700)
    descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() != account.uid:
        os.chown(draft, account.uid, account.gid)
        os.chown(password, account.uid, account.gid)


def _run_initdb(binaries: Binaries, account: Account, draft: Path, password: Path) -> None:
    result = subprocess.run(
        initdb_arguments(binaries, draft, password),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_SECONDS,
        check=False,
        **account.launch_options(),
    )
    if result.returncode != 0:
        raise _failure(result.stdout, account, draft)


def _failure(output: str, account: Account, draft: Path) -> ConfigurationError:
    home = draft.parent.parent
    if is_disk_full(output):
        return disk_full(home)
    closed = account.first_closed_folder(draft)
    if closed is not None and "ermission denied" in output:
        return ConfigurationError(
            f"the account {account.name!r}, which runs PostgreSQL, cannot pass through {closed}:"
            " set ATF_HOME to a folder that it can reach, or ATF_PG_USER to another account"
        )
    return ConfigurationError(f"initdb could not create a database in {home}: {error_line(output)}")


def error_line(output: str) -> str:
    """Return the line of a program's output that tells the cause: the first with an error, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    causes = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:"))]
    return (causes or lines[-1:] or ["no output"])[0]


def _publish(layout: HomeLayout, major: int, draft: Path, password: Path) -> None:
    """Give both their names; the data directory comes last, as it is what makes a cluster count."""
    target = layout.password_file(major)
    owner = layout.home.stat()
    if os.geteuid() == 0:
        os.chown(password, owner.st_uid, owner.st_gid)
    password.replace(target)
    draft.rename(layout.data_dir(major))
    descriptor = os.open(layout.home, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
