"""A process that uses the embedded cluster; the tests start it, talk to it by lines, and kill it.

Arguments: home folder, user id to become (or ``-``). It prints ``ready`` once it holds a reference, or
``failed <text>``. Then it obeys one command a line: ``release``, ``ensure``.
"""

import os
import sys
from pathlib import Path

import psycopg

from atf.errors import AtfError
from atf.storage.embedded import EmbeddedCluster
from atf.storage.embedded.account import Account
from atf.storage.embedded.connection import Address, ask


def become(uid: int) -> None:
    """Load what is loaded late, as the standard library may be out of reach afterwards; then drop root."""
    ask(Address(Path("/nonexistent"), "none"))
    Account("", uid, uid).launch_options()
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def main() -> None:
    home, uid = sys.argv[1:]
    if uid != "-":
        become(int(uid))
    try:
        handle = EmbeddedCluster(Path(home), pg_user=None, pg_bindir=None).acquire()
    except AtfError as exc:
        print(f"failed {exc}", flush=True)
        return
    with psycopg.connect(handle.url().replace("+psycopg", "")) as connection:
        connection.execute("SELECT 1")
    print("ready", flush=True)
    for line in sys.stdin:
        print(getattr(handle, line.strip())(), flush=True)


if __name__ == "__main__":
    main()
