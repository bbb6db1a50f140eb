"""Which operating system account runs the server, and how a program is started under it.

PostgreSQL refuses to run as root. ATF never creates an account and never opens a folder to one.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from atf.errors import ConfigurationError

_NOBODY_WARNING = (
    "PostgreSQL runs as the account nobody: every process of that account could read the database."
    " Set ATF_PG_USER to an account of its own for anything but a demo"
)


class LaunchOptions(TypedDict, total=False):
    """The part of subprocess options that decides who a program runs as."""

    cwd: str
    env: dict[str, str]
    start_new_session: bool
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """An account of the operating system; ``warning`` is a sentence for the log, if there is one."""

    name: str
    uid: int
    gid: int
    warning: str | None = None

    def launch_options(self) -> LaunchOptions:
        """Return subprocess options that run a program as this account, in English and in UTC.

        The environment is not passed on: PGPORT, PGDATA and their kin would change what the server does.
        """
        options = LaunchOptions(
            cwd="/", env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}, start_new_session=True
        )
        if os.geteuid() != self.uid:
            options["user"] = self.uid
            options["group"] = self.gid
            options["extra_groups"] = []
        return options

    def may_enter(self, folder: Path) -> bool:
        """Return whether the mode bits let this account pass ``folder``; access lists are not seen."""
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.gid:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)

    def first_closed_folder(self, path: Path) -> Path | None:
        """Return the topmost folder on the way to ``path`` that this account cannot pass, if any."""
        parents = [parent for parent in reversed(path.parents) if parent.is_dir()]
        return next((folder for folder in parents if not self.may_enter(folder)), None)


def choose_account(pg_user: str | None, *, allow_nobody: bool, owner_uid: int) -> Account:
    """Return the account that shall run the server.

    ``owner_uid`` owns the data directory, or the home folder while there is none: a cluster that exists
    can be run by its owner only.

    Errors: ConfigurationError when no account fits; its text names ATF_PG_USER.
    """
    if os.geteuid() != 0:
        return _ourselves(pg_user)
    if pg_user is not None:
        return _named(pg_user)
    if owner_uid != 0:
        return _marked(_by_uid(owner_uid))
    return _marked(_service_account(allow_nobody=allow_nobody))


def _ourselves(pg_user: str | None) -> Account:
    account = _by_uid(os.geteuid())
    if pg_user is not None and pg_user != account.name:
        raise ConfigurationError(
            f"ATF_PG_USER is {pg_user!r}, but only root can run PostgreSQL under another account"
            f" and this process runs as {account.name!r}: unset it"
        )
    return account


def _named(name: str) -> Account:
    account = _lookup(name)
    if account is None:
        raise ConfigurationError(f"ATF_PG_USER: there is no account {name!r}; name one that exists")
    if account.uid == 0:
        raise ConfigurationError(
            f"ATF_PG_USER: {name!r} is root, and PostgreSQL does not run as root; name another account"
        )
    return _marked(account)


def _service_account(*, allow_nobody: bool) -> Account:
    account = _lookup("postgres") or (_lookup("nobody") if allow_nobody else None)
    if account is None or account.uid == 0:
        raise ConfigurationError(
            "PostgreSQL does not run as root: set ATF_PG_USER to an existing account that is not root,"
            " or start ATF as an ordinary user"
        )
    return account


def _by_uid(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise ConfigurationError(
            f"user id {uid} has no entry in the account database, and PostgreSQL does not run without one:"
            " run as an account that exists (in a container, add the id to /etc/passwd),"
            " or set ATF_DATABASE_URL"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _lookup(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _marked(account: Account) -> Account:
    if account.name != "nobody":
        return account
    return Account(account.name, account.uid, account.gid, warning=_NOBODY_WARNING)
