"""The two lock files of a PostgreSQL server: postmaster.pid, and the one beside its socket.

PostgreSQL refuses to start while the process id in either exists, a zombie included. They are removed
here when that process is no server of this data directory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from atf.storage.embedded.processes import is_running

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"


@dataclass(frozen=True)
class PostmasterFile:
    """What postmaster.pid says; ``socket_dir`` is None until the server has written it."""

    pid: int
    socket_dir: Path | None


def parse_postmaster_file(text: str) -> PostmasterFile | None:
    """Return the content of postmaster.pid, or None for a file that a crash left empty or cut.

    A single-user backend writes its process id with a minus.
    """
    lines = text.splitlines()
    if not lines or re.fullmatch(r"-?[0-9]{1,10}", lines[0].strip()) is None:
        return None
    folder = lines[4].strip() if len(lines) > 4 else ""
    return PostmasterFile(abs(int(lines[0])), Path(folder) if folder else None)


def running_postmaster(data_dir: Path) -> PostmasterFile | None:
    """Return the server that runs in ``data_dir``, or None."""
    try:
        found = parse_postmaster_file((data_dir / "postmaster.pid").read_text())
    except FileNotFoundError:
        return None
    return found if found is not None and is_running(found.pid, data_dir) else None


def clear_lock_files(data_dir: Path, socket_dir: Path) -> None:
    """Remove both lock files and the socket; call it only when nothing runs in ``data_dir``."""
    for path in (
        data_dir / "postmaster.pid",
        socket_dir / f"{SOCKET_NAME}.lock",
        socket_dir / SOCKET_NAME,
    ):
        path.unlink(missing_ok=True)
